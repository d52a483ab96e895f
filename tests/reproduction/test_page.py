# SPDX-License-Identifier: Apache-2.0
"""The page says what was found, and is complete in itself."""

import html
import json
import re
from dataclasses import replace

import pytest

from evenear.reproduction.page import headline, render
from reproduction.made_up import PAPERS_ORDER, results


@pytest.fixture(scope="module")
def page() -> str:
    return render(results())


def words(page: str) -> str:
    """What a reader sees of it."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u202f", " ")
    return re.sub(r"\s+", " ", text)


def test_the_headline_gives_the_difference_only_if_it_is_sure():
    assert re.fullmatch(
        r"ConvRNN-T makes \d+\.\d % fewer word errors than an RNN-T of equal size",
        headline(results()),
    )
    alike = dict.fromkeys(PAPERS_ORDER, 0.2)
    assert headline(results(alike)).startswith("No difference between ConvRNN-T and")
    assert "not both trained" in headline(results({"lstm": 0.2}))


def test_every_claim_has_its_verdict(page):
    said = words(page)
    for claim in results().claims:
        assert f"{claim.title} {claim.judgement}" in said
    assert "5 hold, 1 does not hold" in said


def test_the_papers_numbers_stand_beside_ours(page):
    said = words(page)
    assert "5.11 %" in said
    assert "13.82 %" in said
    assert "−13.4 % (clean)" in said


def test_every_table_has_every_variant(page):
    said = words(page)
    for variant in results().variants:
        assert said.count(variant.label) >= 4


def test_it_loads_nothing_and_escapes_what_it_was_given(page):
    assert "<one>" not in page
    assert "corpus &lt;one&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page)


def test_it_carries_its_numbers(page):
    (data,) = re.findall(r'<script type="application/json" id="audit">(.*?)</script>', page, re.S)
    assert json.loads(data)["setting"]["num_updates"] == 100


def test_one_variant_alone_makes_a_page():
    assert "RNN-T" in words(render(results({"lstm": 0.2}, seeds=1)))


def test_few_seeds_and_known_speakers_are_named_before_any_number(page):
    said = words(page)
    assert said.index("Trained with 2 seeds only.") < said.index("The paper's claims")
    enough = results(seeds=3)
    assert "Notes on the data" not in words(render(enough))
    shared = replace(enough, setting=replace(enough.setting, shared_speakers=1, shared_sentences=3))
    said = words(render(shared))
    assert "1 test speaker can be heard in the training data" in said
    assert "3 of 80 test utterances are sentences that the training data has" in said
