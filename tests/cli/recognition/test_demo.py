# SPDX-License-Identifier: Apache-2.0
"""The command `evenear demo`; what it shows is tested with `touring`."""


def test_a_demo_without_its_model_says_so(evenear):
    done = evenear("demo", "--model", "evenear-xy-huge")
    assert done.code == 1
    assert "There is no model 'evenear-xy-huge'" in done.err


def test_a_speed_of_nothing_is_not_understood(evenear):
    assert evenear("demo", "--speed", "0").code == 2
