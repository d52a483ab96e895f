# SPDX-License-Identifier: Apache-2.0
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from audit.browser import chromium, open_browser
from audit.planted import planted
from audit.reports import report, rich_report, spoken, with_texts
from evenear.audit import Assignment, Cohorts, cohorts_by
from evenear.audit.report import AuditSettings, audit, render_page, to_json, write_report
from evenear.audit.report.words import percent

needs_chromium = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed: apt-get install chromium"
)
EVIL = '</script><img src=x onerror="alert(1)"><b>{{ 7*7 }}'


class _Tags(HTMLParser):
    """Collects tags and checks that they are closed in order."""

    VOID = ("meta", "link", "col", "br", "input", "img", "path", "circle", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def _evil_report():
    table = replace(spoken(), name=EVIL, warnings=(EVIL,))
    who = table.speakers["speaker"].to_list()
    values = {name: EVIL if k % 2 else "plain" for k, name in enumerate(who)}
    frame = table.frame.with_columns(utterance_id=EVIL + table.frame["utterance_id"])
    cohorts = Cohorts((Assignment.of_speakers(EVIL, values),))
    return audit(replace(table, frame=frame), cohorts, AuditSettings(num_resamples=100))


@pytest.mark.parametrize("one", [report, rich_report, _evil_report])
def test_tags_are_closed_and_nothing_is_loaded(one):
    tags = _Tags()
    tags.feed(render_page(one()))
    assert tags.open == []
    for tag, attributes in tags.seen:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        if tag in ("a", "link"):
            assert attributes["href"].startswith(("#", "data:,"))


def test_the_page_holds_the_same_content_as_the_json():
    page = render_page(rich_report())
    (data,) = re.findall(r'<script type="application/json" id="audit">(.*?)</script>', page, re.S)
    assert json.loads(data) == json.loads(to_json(rich_report()))


def test_every_cohort_has_its_numbers_on_the_page():
    page = render_page(report()).replace("\u202f", " ")
    for row in report().gaps.rows:
        assert f'data-value="{row.wer}">{percent(row.wer)}' in page


def test_sections_are_there_only_when_there_is_something_in_them():
    small, large = render_page(report()), render_page(rich_report())
    for name in ("found", "compared"):
        assert f'id="{name}"' not in small
        assert f'id="{name}"' in large
    assert "How the search by census ranked them" in large
    assert render_page(replace(report(), worst_utterances=())).count('id="utterances"') == 0


def test_names_from_the_table_cannot_become_markup():
    page = render_page(_evil_report())
    assert "<img" not in page
    assert "{{ 7*7 }}" in page
    assert "49</" not in page


def test_an_audit_of_nothing_but_small_cohorts_is_still_a_page():
    table = planted(12)
    one = audit(table, cohorts_by(table, ["accent"]), AuditSettings(num_resamples=100))
    page = render_page(one)
    assert "Nothing can be said about the cohorts" in page
    assert "too small to measure" in page


def test_a_recognizer_without_errors_is_still_a_page():
    table = planted(60, wer=1e-9)
    assert table.errors == 0
    one = audit(table, cohorts_by(table, ["gender"]), AuditSettings(num_resamples=100))
    assert "No cohort of results was confirmed" in render_page(one)


def test_many_cohorts_with_long_names_are_still_a_page():
    table = with_texts(planted(400))
    who = table.speakers["speaker"].to_list()
    values = {name: f"{'wöрд' * 30} {k % 30}" for k, name in enumerate(who)}
    cohorts = Cohorts((Assignment.of_speakers("a very long attribute name " * 4, values),))
    one = audit(table, cohorts, AuditSettings(num_resamples=100, min_words=100))
    assert render_page(one).count("<tr") > 30


@needs_chromium
def test_the_page_is_quiet_offline_and_readable_at_every_width(tmp_path):
    pages = {"report": report(), "rich": rich_report(), "evil": _evil_report()}
    for name, one in pages.items():
        write_report(one, tmp_path / f"{name}.html")
    with open_browser(tmp_path / "profile") as browser:
        for name in pages:
            path = tmp_path / f"{name}.html"
            for width, dark in ((360, False), (360, True), (768, False), (1280, True)):
                browser.open(path, width=width, dark=dark)
                assert browser.complaints() == []
                assert browser.requests() == [path.resolve().as_uri()]
                assert browser.run("document.documentElement.scrollWidth") <= width
                assert browser.run(_CUT_OFF) == []
                assert browser.run(_TINY) == []
                assert browser.run(_CONTRAST) == []


@needs_chromium
def test_sorting_filtering_and_dark_mode_work(tmp_path):
    write_report(rich_report(), tmp_path / "page.html")
    with open_browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html", width=1280)
        browser.run("document.querySelectorAll('table.cohorts thead button')[1].click()")
        column = "[...document.querySelector('table.cohorts tbody').rows]"
        speakers = browser.run(f"{column}.map(row => Number(row.cells[1].dataset.value))")
        assert speakers == sorted(speakers, reverse=True)
        light = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.run("document.getElementById('theme').click()")
        assert browser.run("getComputedStyle(document.body).backgroundColor") != light
        browser.run(
            "(() => { const one = document.getElementById('filter'); one.selectedIndex = 1; "
            "one.dispatchEvent(new Event('change')); })()"
        )
        shown = browser.run(
            "[...document.querySelectorAll('article.utterance:not([hidden])')]"
            ".map(one => one.dataset.cohorts.split('\\n'))"
        )
        wanted = browser.run("document.getElementById('filter').value")
        assert shown
        assert all(wanted in own for own in shown)
        assert browser.complaints() == []


@needs_chromium
def test_the_page_prints(tmp_path):
    write_report(rich_report(), tmp_path / "page.html")
    with open_browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html", width=1280, dark=True)
        browser.print(tmp_path / "page.pdf")
        assert browser.run("[...document.querySelectorAll('details')].every(one => one.open)")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 30


_VISIBLE = """
  const seen = [...document.querySelectorAll('main *, header.top *, footer.bottom *')].filter(one =>
    one.checkVisibility() && !one.closest('svg') && !one.closest('nav') &&
    [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
"""
_CUT_OFF = f"""(() => {{ {_VISIBLE}
  return seen.filter(one => {{
    const box = one.getBoundingClientRect();
    return box.left < -1 || box.right > innerWidth + 1;
  }}).map(one => one.outerHTML.slice(0, 120));
}})()"""
_TINY = f"""(() => {{ {_VISIBLE}
  return seen.filter(one => parseFloat(getComputedStyle(one).fontSize) < 11)
    .map(one => one.outerHTML.slice(0, 120));
}})()"""
_CONTRAST = f"""(() => {{ {_VISIBLE}
  const canvas = document.createElement('canvas').getContext('2d', {{ willReadFrequently: true }});
  const rgba = (color) => {{
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }};
  const light = ([r, g, b]) => {{
    const [x, y, z] = [r, g, b].map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  }};
  const behind = (one) => {{
    for (let at = one; at; at = at.parentElement) {{
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 200) return color;
    }}
    return [255, 255, 255, 255];
  }};
  return seen.filter(one => {{
    const front = light(rgba(getComputedStyle(one).color)), back = light(behind(one));
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05) < 4.5;
  }}).map(one => one.outerHTML.slice(0, 120));
}})()"""
