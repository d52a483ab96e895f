# SPDX-License-Identifier: Apache-2.0
"""Drawings of training curves: one for each variant, all on the same axes."""

import re

from evenear.reproduction.curves import panels
from evenear.reproduction.results import Curve, Variant
from reproduction.made_up import measured, results


def variant(name: str, *curves: Curve) -> Variant:
    return Variant(name, name.upper(), (), measured(), curves)


def test_each_variant_has_a_panel_with_the_reference_behind_it():
    found = panels(results().variants)
    assert [one.title for one in found][:2] == ["RNN-T", "ConvRNN-T"]
    for number, one in enumerate(found):
        assert one.svg.count('class="own"') == 2
        assert one.svg.count('class="behind"') == (2 if number else 0)


def test_a_falling_error_rate_falls_on_the_drawing():
    (panel,) = panels([variant("x", Curve(0, (10, 20), (0.8, 0.2), (9.0, 3.0)))])
    (path,) = re.findall(r'class="own" d="M([^"]+)"', panel.svg)
    (x1, y1), (x2, y2) = (map(float, place.split()) for place in path.split("L"))
    assert x1 < x2
    assert y1 < y2  # down


def test_what_was_not_measured_is_left_out():
    curve = Curve(0, (10, 20, 30), (float("nan"), 0.5, 0.4), (9.0, 3.0, 2.0))
    (panel,) = panels([variant("x", curve)])
    assert "nan" not in panel.svg
    assert panel.svg.count("L") == 1
    assert panels([variant("x", Curve(0, (), (), ()))]) == []


def test_error_rates_far_above_one_do_not_flatten_the_rest():
    (panel,) = panels([variant("x", Curve(0, (10, 20), (14.0, 0.5), (9.0, 3.0)))])
    (path,) = re.findall(r'class="own" d="M([^"]+)"', panel.svg)
    heights = [float(place.split()[1]) for place in path.split("L")]
    assert heights[1] - heights[0] > 50
