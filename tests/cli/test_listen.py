# SPDX-License-Identifier: Apache-2.0
import sys


def test_without_the_library_for_microphones_it_says_how_to_get_it(evenear, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = evenear("listen")
    assert done.code == 1
    assert "hint: pip install 'evenear[mic]'" in done.err
