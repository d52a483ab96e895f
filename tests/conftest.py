# SPDX-License-Identifier: Apache-2.0
"""What all tests share: one thread (small models are slower with two), examples without deadlines.

Nothing here may import torch: the tests of the audit run where it is not installed.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("evenear", deadline=None, print_blob=True)
settings.load_profile("evenear")
