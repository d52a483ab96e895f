# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from audit.reports import report
from evenear.audit.report import parse_document, to_document, to_markdown, write_report
from evenear.audit.report.rendering.writing import check_report_path
from evenear.errors import ConfigError, TableError


def test_the_suffix_decides_what_is_written(tmp_path):
    write_report(report(), tmp_path / "report.html")
    write_report(report(), tmp_path / "report.json")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert parse_document(text) == to_document(report())
    write_report(report(), tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == to_markdown(report())
    write_report(report(), tmp_path / "report.csv")
    rows = pl.read_csv(tmp_path / "report.csv")
    assert rows["gap"].to_list() == pytest.approx([row.gap for row in report().gaps.rows])


def test_an_unknown_suffix_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.html, .*or \.csv, got 'report\.pdf'"):
        write_report(report(), tmp_path / "report.pdf")
    with pytest.raises(ConfigError, match="There is no folder"):
        write_report(report(), tmp_path / "nowhere" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        check_report_path(tmp_path / "folder.html")


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    target = tmp_path / "report.json"
    target.write_text("old", encoding="utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evenear.atomic.os.replace", full)
    with pytest.raises(TableError, match="No space left"):
        write_report(report(), target)
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_broken_characters_from_a_table_can_still_be_written(tmp_path):
    from dataclasses import replace

    one = replace(report(), gaps=replace(report().gaps, name="broken \udcff name"))
    write_report(one, tmp_path / "report.html")
    assert "broken ? name" in (tmp_path / "report.html").read_text(encoding="utf-8")
