# SPDX-License-Identifier: Apache-2.0
"""Which points none dominates, and a drawing that is well-formed whatever names come."""

from xml.etree import ElementTree

from evenear.training.mitigation.judgement.frontier import Mark, draw_frontier, undominated

MARKS = [
    Mark("before", 0.30, 0.40, "before"),
    Mark("10", 0.29, 0.35, "chosen"),
    Mark("<1>", 0.31, 0.30),
    Mark("bad", 0.32, 0.36),
]


def test_a_point_that_another_beats_on_both_is_dominated():
    assert [one.label for one in undominated(MARKS)] == ["10", "<1>"]


def test_equal_points_do_not_dominate_each_other():
    assert len(undominated([Mark("a", 0.3, 0.3), Mark("b", 0.3, 0.3)])) == 2


def test_the_drawing_is_well_formed_and_says_what_it_shows():
    svg = draw_frontier(MARKS, x_label="everyone", y_label="age<18", caption="synthetic")
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.text]
    assert {"everyone", "age<18", "synthetic", "<1>", "before"} <= set(texts)
    circles = [n for n in ElementTree.fromstring(svg).iter() if n.tag.endswith("circle")]
    assert len(circles) == len(MARKS)


def test_down_and_left_are_fewer_errors():
    root = ElementTree.fromstring(draw_frontier(MARKS[:2], x_label="x", y_label="y"))
    by_class = {n.get("class"): n for n in root.iter() if n.tag.endswith("circle")}
    assert float(by_class["chosen"].get("cx")) < float(by_class["before"].get("cx"))
    assert float(by_class["chosen"].get("cy")) > float(by_class["before"].get("cy"))


def test_one_point_alone_can_be_drawn():
    assert "circle" in draw_frontier(MARKS[:1], x_label="x", y_label="y")
