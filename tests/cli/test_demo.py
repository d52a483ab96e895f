# SPDX-License-Identifier: Apache-2.0
def test_the_demo_streams_every_shipped_clip_and_says_what_is_next(evenear, model):
    done = evenear("demo", "--model", model)
    assert done.code == 0
    assert done.out.count("heard") >= 4
    assert "real-time factor" in done.out
    assert "Try next" in done.out
    assert "\x1b" not in done.out
