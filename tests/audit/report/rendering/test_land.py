# SPDX-License-Identifier: Apache-2.0
from evenear.audit.report.rendering.land import land_near


def test_land_lies_around_the_places_and_is_coarse():
    points = land_near([(-100, 30), (-90, 40)])
    assert 200 < len(points) < 110 * 110
    assert all(-105 <= x <= -85 and 25 <= y <= 45 for x, y in points)


def test_there_is_no_land_where_no_zip_code_is():
    assert land_near([(5, 45), (15, 55)]) == ()
    assert land_near([]) == ()
