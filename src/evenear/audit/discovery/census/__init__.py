# SPDX-License-Identifier: Apache-2.0
"""Census: ZIP codes of the United States, divided by what the census says of them."""

__all__: list[str] = []
