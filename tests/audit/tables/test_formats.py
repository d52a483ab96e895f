# SPDX-License-Identifier: Apache-2.0
import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from evenear.audit.tables.cleaning import Notes
from evenear.audit.tables.formats import file_format, plain_name, read_frames
from evenear.errors import TableError

ROWS = [{"id": f"u{row}", "text": f"wörd {row}", "zip": f"{row:05d}"} for row in range(50)]


def read(path, notes=None):
    frame = pl.concat(read_frames(path, notes or Notes()), how="diagonal_relaxed")
    return frame.to_dicts()


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def delimited(rows, separator):
    header = separator.join(rows[0])
    return "\n".join([header, *(separator.join(row.values()) for row in rows)]) + "\n"


@pytest.fixture(params=["jsonl", "json", "csv", "semicolons", "tsv", "parquet", "jsonl.gz"])
def path(request, tmp_path):
    kind = request.param
    if kind == "parquet":
        pl.DataFrame(ROWS).write_parquet(tmp_path / "r.parquet")
        return tmp_path / "r.parquet"
    if kind == "jsonl.gz":
        (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(jsonl(ROWS).encode()))
        return tmp_path / "r.jsonl.gz"
    texts = {
        "jsonl": jsonl(ROWS),
        "json": json.dumps(ROWS),
        "csv": delimited(ROWS, ","),
        "semicolons": delimited(ROWS, ";"),
        "tsv": delimited(ROWS, "\t"),
    }
    return write(tmp_path / f"r.{'csv' if kind == 'semicolons' else kind}", texts[kind])


def test_every_format_gives_the_same_rows(path):
    assert read(path) == ROWS


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_of_any_size_give_the_same_rows(path, size, monkeypatch):
    monkeypatch.setattr("evenear.audit.tables.formats.BATCH_BYTES", size)
    monkeypatch.setattr("evenear.audit.tables.formats.BATCH_ROWS", size)
    assert read(path) == ROWS


@pytest.mark.parametrize("size", [3, 20, 10_000])
def test_quoted_texts_may_hold_separators_and_line_ends(tmp_path, size, monkeypatch):
    monkeypatch.setattr("evenear.audit.tables.formats.BATCH_BYTES", size)
    text = 'id,text\nu0,"one, two\nthree"\nu1,"say ""yes"""\n'
    rows = read(write(tmp_path / "r.csv", text))
    assert rows == [
        {"id": "u0", "text": "one, two\nthree"},
        {"id": "u1", "text": 'say "yes"'},
    ]


def test_quotes_mean_nothing_in_tables_with_tabs(tmp_path):
    rows = read(write(tmp_path / "r.tsv", 'id\ttext\nu0\t"Yes, he said.\nu1\tno\n'))
    assert [row["text"] for row in rows] == ['"Yes, he said.', "no"]


def test_quotes_that_do_not_pair_up_are_taken_as_they_stand(tmp_path):
    notes = Notes()
    path = write(tmp_path / "r.csv", 'id,text\nu0,5" disk\nu1,"yes\nu2,no\n')
    assert [row["text"] for row in read(path, notes)] == ['5" disk', '"yes', "no"]
    assert "do not pair up" in notes.sentences()[0]


def test_kaldi_text_is_an_id_and_the_rest(tmp_path):
    rows = read(write(tmp_path / "text", "u0 one  two\nu1\n\n u2\tthree\n"))
    assert rows == [
        {"utterance_id": "u0", "text": "one  two"},
        {"utterance_id": "u1", "text": ""},
        {"utterance_id": "u2", "text": "three"},
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_encodings_are_understood(tmp_path, encoding):
    assert read(write(tmp_path / "r.csv", delimited(ROWS, ","), encoding)) == ROWS


def test_lines_in_another_encoding_are_read_and_counted(tmp_path):
    mixed = "id,text\nu0,wörd\n".encode() + "u1,wörd\nu2,café\n".encode("cp1252")
    (tmp_path / "r.csv").write_bytes(mixed)
    notes = Notes()
    assert [row["text"] for row in read(tmp_path / "r.csv", notes)] == ["wörd", "wörd", "café"]
    assert notes.sentences() == ("2 lines are not UTF-8 and were read as Windows-1252.",)


def test_a_last_line_that_was_cut_is_left_out_and_told(tmp_path):
    notes = Notes()
    cut = jsonl(ROWS) + '{"id": "u50", "te'
    assert read(write(tmp_path / "r.jsonl", cut), notes) == ROWS
    assert notes.sentences() == ("1 broken JSON lines were left out (first: line 51).",)


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    with pytest.raises(TableError, match="the first is line 1"):
        read(write(tmp_path / "r.jsonl", delimited(ROWS, ",")))
    with pytest.raises(TableError, match=r"line 2.*jsonl"):
        read(write(tmp_path / "r.json", jsonl(ROWS)))
    with pytest.raises(TableError, match="list of objects"):
        read(write(tmp_path / "r.json", '{"id": 1}'))
    with pytest.raises(TableError, match="cannot be read as parquet"):
        read(write(tmp_path / "r.parquet", "not a table"))
    with pytest.raises(TableError, match="cannot be read as jsonl"):
        read(write(tmp_path / "r.jsonl.gz", "not packed"))


def test_a_row_with_too_many_fields_is_named(tmp_path):
    with pytest.raises(TableError, match="header has 2 fields, line 3 has 3"):
        read(write(tmp_path / "r.csv", "id,text\nu0,a\nu1,a,b\n"))


def test_fields_of_nested_objects_become_columns(tmp_path):
    rows = [{"id": "u0", "custom": {"age": 30, "id": "other"}}, {"id": "u1", "custom": None}]
    assert read(write(tmp_path / "r.jsonl", jsonl(rows))) == [
        {"id": "u0", "age": 30},
        {"id": "u1", "age": None},
    ]


def test_values_of_several_kinds_become_text(tmp_path):
    rows = [{"id": "u0", "age": 30}, {"id": "u1", "age": "thirties"}, {"id": "u2", "age": [1]}]
    found = read(write(tmp_path / "r.jsonl", jsonl(rows)))
    assert [row["age"] for row in found] == ["30", "thirties", "[1]"]


def test_not_a_number_in_json_is_understood(tmp_path):
    path = write(tmp_path / "r.jsonl", '{"id": "u0", "snr": NaN}\n{"id": "u1", "snr": 3.0}\n')
    values = [row["snr"] for row in read(path)]
    assert values[0] != values[0]
    assert values[1] == 3.0


def test_files_that_are_not_there_or_empty_or_unknown_are_refused(tmp_path):
    with pytest.raises(TableError, match="There is no file"):
        file_format(tmp_path / "missing.csv")
    with pytest.raises(TableError, match="0 bytes"):
        file_format(write(tmp_path / "empty.csv", ""))
    with pytest.raises(TableError, match="xlsx"):
        file_format(write(tmp_path / "table.xlsx", "x"))


def test_an_empty_list_is_said_to_be_empty(tmp_path):
    with pytest.raises(TableError, match=r"r\.json holds an empty list"):
        read(write(tmp_path / "r.json", "[]"))


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c", "\x1c"])
def test_only_line_feeds_end_a_line(tmp_path, mark):
    path = write(tmp_path / "text", f"u1 a{mark}b\r\nu2 c\n")
    assert [row["utterance_id"] for row in read(path)] == ["u1", "u2"]
    lines = json.dumps({"id": "u1", "text": f"a{mark}b"}, ensure_ascii=False) + "\r\n"
    notes = Notes()
    rows = read(write(tmp_path / "r.jsonl", 200 * lines + '{"id": "u2", "te'), notes)
    assert len(rows) == 200
    assert notes.sentences() == ("1 broken JSON lines were left out (first: line 201).",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_carriage_returns_may_end_lines(tmp_path, encoding):
    text = delimited(ROWS, ",").replace("\n", "\r")
    assert read(write(tmp_path / "r.csv", text, encoding)) == ROWS


def test_json_may_be_of_any_encoding_with_a_mark(tmp_path):
    assert read(write(tmp_path / "r.json", json.dumps(ROWS), "utf-16")) == ROWS


def test_what_is_damaged_or_nested_without_end_is_refused(tmp_path):
    cut = tmp_path / "cut.csv"
    cut.write_bytes(delimited(ROWS, ",").encode("utf-16")[:-1])
    damaged = tmp_path / "damaged.jsonl.gz"
    content = bytearray(gzip.compress(jsonl(ROWS).encode()))
    content[20:40] = bytes(20)
    damaged.write_bytes(content)
    deep = 100_000 * "[" + 100_000 * "]"
    nested = write(tmp_path / "nested.json", deep)
    lines = write(tmp_path / "nested.jsonl", 3 * f'{{"a": {deep}}}\n')
    for path in (cut, damaged, nested, lines, tmp_path):
        with pytest.raises(TableError):
            read(path)


def test_numbers_too_large_for_any_column_become_text(tmp_path):
    path = write(tmp_path / "r.json", json.dumps([{"id": -(2**127) - 1}, {"id": 1}]))
    assert [row["id"] for row in read(path)] == [str(-(2**127) - 1), "1"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("deepspeech-0.7.3.tsv", "deepspeech-0.7.3"),
        ("dec-9-2019.jsonl.gz", "dec-9-2019"),
        ("hyp.seglst.json", "hyp"),
        ("results", "results"),
        (".jsonl", ".jsonl"),
    ],
)
def test_only_what_says_how_a_file_is_written_is_no_part_of_its_name(name, plain):
    assert plain_name(Path(name)) == plain
