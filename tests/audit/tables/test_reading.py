# SPDX-License-Identifier: Apache-2.0
import json
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenear.audit import cohorts_by, gaps, read_table
from evenear.audit.tables.reading import read_systems
from evenear.errors import ConfigError, TableError
from evenear.metrics.words import normalize, word_errors


def results(num_speakers=12, utterances=3, **extra):
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(num_speakers):
        for turn in range(utterances):
            said = list(rng.choice(["one", "two", "three", "four"], 6))
            heard = [word for word in said if rng.random() > 0.2]
            rows.append(
                {
                    "utterance_id": f"s{speaker:02d}-{turn}",
                    "speaker": f"s{speaker:02d}",
                    "reference": " ".join(said).capitalize() + ".",
                    "hypothesis": " ".join(heard),
                    "gender": "female" if speaker % 2 else "male",
                    **extra,
                }
            )
    return rows


def save(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame(rows).write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_counts_are_those_of_scoring_each_row(tmp_path, suffix):
    rows = results()
    table = read_table(save(tmp_path / f"r.{suffix}", rows))
    for row, said in zip(table.frame.to_dicts(), rows, strict=True):
        one = word_errors(normalize(said["reference"]), normalize(said["hypothesis"]))
        assert row["utterance_id"] == said["utterance_id"]
        assert (row["words"], row["errors"]) == (one.reference_words, one.errors)
        assert row["deletions"] + row["insertions"] + row["substitutions"] == row["errors"]
        assert (row["reference"], row["gender"]) == (said["reference"], said["gender"])
    assert table.attributes == ("gender",)
    assert table.warnings == ()
    assert (table.name, table.normalizer) == ("r", "basic")


def test_all_formats_give_the_same_audit(tmp_path):
    found = []
    for suffix in ("jsonl", "csv", "parquet"):
        table = read_table(save(tmp_path / f"r.{suffix}", results()))
        cohorts = cohorts_by(table, ["gender"])
        found.append(gaps(table, cohorts, num_resamples=100, min_speakers=2, min_words=1))
    assert found[0] == found[1] == found[2]


def test_batches_and_few_kept_texts_do_not_change_the_counts(tmp_path, monkeypatch):
    path = save(tmp_path / "r.jsonl", results())
    whole = read_table(path)
    monkeypatch.setattr("evenear.audit.tables.formats.BATCH_BYTES", 300)
    monkeypatch.setattr("evenear.audit.tables.reading.ALIGNED_AT_ONCE", 2)
    parts = read_table(path, keep_texts=5)
    texts = ["reference", "hypothesis"]
    assert parts.frame.drop(texts).equals(whole.frame.drop(texts))
    kept = parts.frame.filter(pl.col("hypothesis").is_not_null())
    assert kept.height == 5
    assert kept["errors"].min() >= whole.frame["errors"].top_k(5).min()


def test_counts_of_the_table_are_taken_as_they_are(tmp_path):
    rows = [
        {"utt": f"u{row}", "spk": f"s{row % 5}", "words": 10, "errors": row % 4}
        for row in range(20)
    ]
    table = read_table(save(tmp_path / "r.csv", rows))
    assert (table.words, table.errors) == (200, 30)
    assert table.frame["insertions"].null_count() == 20
    assert table.normalizer == "as counted"


def test_counts_that_are_not_those_of_the_texts_are_told(tmp_path):
    rows = [{**row, "words": 6, "errors": 1} for row in results()]
    table = read_table(save(tmp_path / "r.jsonl", rows))
    aligned = read_table(save(tmp_path / "texts.jsonl", results()))
    assert (table.errors, table.words) == (36, 216)
    assert f"gives {aligned.errors} in 216" in table.warnings[0]
    assert table.normalizer == "as counted"


def test_counts_that_are_those_of_the_texts_keep_the_name_of_the_normalizer(tmp_path):
    aligned = read_table(save(tmp_path / "texts.jsonl", results()))
    aligned.frame.write_ndjson(tmp_path / "scored.jsonl")
    again = read_table(tmp_path / "scored.jsonl")
    assert again.normalizer == "basic"
    assert again.frame.equals(aligned.frame)
    assert again.warnings == ()


def test_errors_may_come_in_parts(tmp_path):
    rows = [{"utt": "u", "spk": "s", "words": 10, "ins": 1, "del": 2, "sub": 3}]
    assert read_table(save(tmp_path / "r.csv", rows)).errors == 6


def test_another_normalizer_gives_other_counts(tmp_path):
    path = save(tmp_path / "r.jsonl", results())
    assert read_table(path, normalizer="none").errors > read_table(path).errors
    with pytest.raises(ConfigError, match="basic"):
        read_table(path, normalizer="basik")


def test_missing_columns_are_named_with_the_nearest(tmp_path):
    rows = [{"utterance_id": "u", "speaker": "s", "refrence": "a", "hypothesis": "a"}]
    with pytest.raises(TableError, match=r"no column for reference.*Did you mean 'refrence'"):
        read_table(save(tmp_path / "r.csv", rows))


def test_a_missing_reference_is_left_out_and_an_empty_one_is_counted_apart(tmp_path):
    rows = results()
    rows[0]["reference"], rows[1]["reference"] = None, " … "
    rows[1]["hypothesis"] = "uh huh"
    table = read_table(save(tmp_path / "r.jsonl", rows))
    assert table.num_utterances == len(rows) - 1
    first = table.frame.row(0, named=True)
    assert (first["words"], first["insertions"]) == (0, 2)
    assert "1 utterances have no reference and were left out." in table.warnings
    assert table.silent["utterance_id"].to_list() == [first["utterance_id"]]
    assert table.errors == table.frame["errors"].sum() - 2


def test_a_missing_hypothesis_counts_as_deleted_and_is_told(tmp_path):
    rows = results()
    rows[0]["hypothesis"] = None
    table = read_table(save(tmp_path / "r.jsonl", rows))
    assert table.frame["deletions"][0] == table.frame["words"][0] == 6
    assert "1 utterances have no hypothesis" in table.warnings[0]


def test_references_that_are_all_empty_leave_nothing_to_audit(tmp_path):
    rows = [{**row, "reference": " "} for row in results()]
    with pytest.raises(TableError, match="no reference words"):
        read_table(save(tmp_path / "r.jsonl", rows))


def test_a_table_without_rows_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("utterance_id,speaker,reference,hypothesis\n")
    with pytest.raises(TableError, match="no rows"):
        read_table(path)


def test_one_speaker_is_told_and_audited_as_far_as_possible(tmp_path):
    table = read_table(save(tmp_path / "r.jsonl", results(num_speakers=1)))
    assert any("one speaker" in text for text in table.warnings)
    found = gaps(table, cohorts_by(table, ["gender"]), num_resamples=100, min_speakers=1)
    assert found.overall.wer == table.wer
    assert found.overall.low is None


def test_equal_rows_count_once_and_different_ones_are_refused(tmp_path):
    rows = results()
    table = read_table(save(tmp_path / "r.jsonl", [*rows, rows[3], rows[3]]))
    assert table.num_utterances == len(rows)
    assert "2 rows repeat another row exactly and were left out." in table.warnings
    other = {**rows[3], "hypothesis": "something else"}
    path = save(tmp_path / "twice.jsonl", [*rows, other])
    with pytest.raises(TableError, match=r"such as 's01-0'.*several systems"):
        read_table(path)
    first, both = read_table(path, duplicates="first"), read_table(path, duplicates="keep")
    assert first.frame.equals(read_table(save(tmp_path / "r.jsonl", rows)).frame)
    assert both.num_utterances == len(rows) + 1
    assert both.frame["utterance_id"].is_unique().all()
    assert "s01-0#2" in both.frame["utterance_id"]


def test_places_and_zip_codes_are_mended_and_told(tmp_path):
    rows = results(lat=-122.4, lon=37.8, zip=2139)
    table = read_table(save(tmp_path / "r.csv", rows))
    first = table.frame.row(0, named=True)
    assert (first["latitude"], first["longitude"], first["zip"]) == (37.8, -122.4, "02139")
    told = " ".join(table.warnings)
    assert "were swapped" in told
    assert "no geography" in told
    assert "36 ZIP codes had lost leading zeros" in told
    assert table.attributes == ("gender",)


def test_attributes_may_come_from_other_files(tmp_path):
    path = save(tmp_path / "r.jsonl", results())
    people = [{"client_id": f"s{row:02d}", "region": "north", "zip": "501"} for row in range(6)]
    clips = [{"path": "s00-1", "noise": "high", "text": "not a reference"}]
    table = read_table(
        path,
        attributes=[save(tmp_path / "p.csv", people), save(tmp_path / "c.jsonl", clips)],
    )
    assert table.frame["region"].null_count() == table.num_utterances // 2
    assert table.frame.filter(utterance_id="s00-1")["noise"].to_list() == ["high"]
    assert table.frame["noise"].null_count() == table.num_utterances - 1
    assert table.frame["reference"][1] == results()[1]["reference"]
    assert table.frame["zip"][0] == "00501"


def test_speakers_are_matched_however_their_accents_are_encoded(tmp_path):
    rows = [row | {"speaker": f"Zo\u00eb {row['speaker']}"} for row in results()]
    path = save(tmp_path / "r.jsonl", rows)
    names = sorted({row["speaker"] for row in rows})[:10]
    people = [{"speaker": unicodedata.normalize("NFD", name), "height": 1} for name in names]
    table = read_table(path, attributes=[save(tmp_path / "who.csv", people)])
    assert table.frame["height"].null_count() == 2 * 3
    assert "2 speakers are not in who.csv." in table.warnings


def test_attributes_that_contradict_each_other_are_refused(tmp_path):
    path = save(tmp_path / "r.jsonl", results())
    people = [{"speaker": "s01", "region": "north"}] * 2
    read_table(path, attributes=[save(tmp_path / "who.csv", people)])
    people.append({"speaker": "s01 ", "region": "south"})
    with pytest.raises(TableError, match=r"one row in who.csv; 's01' has several that differ"):
        read_table(path, attributes=[save(tmp_path / "who.csv", people)])


def test_speakers_that_were_taken_for_utterances_get_a_hint(tmp_path):
    path = save(tmp_path / "r.jsonl", results())
    people = [{"id": f"s{number:02d}", "region": "north"} for number in range(12)]
    with pytest.raises(TableError) as caught:
        read_table(path, attributes=[save(tmp_path / "who.csv", people)])
    assert "Its column 'id' was taken as utterance ids" in str(caught.value.hint)


def test_attributes_of_nobody_are_refused(tmp_path):
    path = save(tmp_path / "r.jsonl", results())
    with pytest.raises(TableError, match=r"No speaker of p.csv is in r.jsonl"):
        read_table(path, attributes=[save(tmp_path / "p.csv", [{"speaker": "x", "age": "1"}])])
    with pytest.raises(TableError, match="speakers or of utterance ids"):
        read_table(path, attributes=[save(tmp_path / "q.csv", [{"person": "x", "age": "1"}])])


def test_embeddings_stay_beside_their_utterances(tmp_path):
    rows = results()
    for number, row in enumerate(rows):
        row["embedding"] = [float(number), 1.0]
    table = read_table(save(tmp_path / "r.jsonl", rows))
    assert table.frame["embedding"][2].to_list() == [2.0, 1.0]
    assert "embedding" not in table.attributes


def test_every_column_has_its_kind(tmp_path):
    frame = read_table(save(tmp_path / "r.csv", results(lat=1.0, lon=2.0, zip="02139"))).frame
    texts = ("utterance_id", "speaker", "reference", "hypothesis", "gender", "zip")
    counts = ("words", "errors", "insertions", "deletions", "substitutions")
    assert all(frame.schema[name] == pl.String for name in texts)
    assert all(frame.schema[name] == pl.Int64 for name in counts)
    assert frame.schema["latitude"] == frame.schema["longitude"] == pl.Float64


CELLS = st.one_of(st.none(), st.integers(), st.floats(), st.booleans(), st.text(max_size=8))
NAMES = st.sampled_from(
    ["utterance_id", "speaker", "reference", "hypothesis", "errors", "words", "zip", "lat", "lon",
     "gender"]
)  # fmt: skip
ANY_ROWS = st.lists(st.dictionaries(NAMES, CELLS, max_size=8), min_size=1, max_size=6)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ANY_ROWS)
def test_whatever_the_rows_are_there_is_a_sound_table_or_a_table_error(tmp_path, rows):
    path = save(tmp_path / "any.jsonl", rows)
    try:
        table = read_table(path, duplicates="keep")
    except TableError:
        return
    assert table.words > 0
    assert table.frame["speaker"].null_count() == 0
    assert table.frame["utterance_id"].is_unique().all()


def test_several_recognizers_in_one_table_are_read_apart(tmp_path):
    rows = [
        {**row, "system": name, "hypothesis": row["hypothesis"] + " more" * number}
        for number, name in enumerate(["old-0.7.3", "new", "newest"])
        for row in results()
    ]
    path = save(tmp_path / "all.jsonl", rows)
    with pytest.raises(TableError, match="An utterance id may stand in one row"):
        read_table(path)
    tables = read_systems(path)
    assert [one.name for one in tables] == ["old-0.7.3", "new", "newest"]
    assert all("system" not in one.attributes for one in tables)
    assert tables[0].frame.equals(read_table(save(tmp_path / "one.jsonl", results())).frame)
    assert tables[2].errors > tables[1].errors > tables[0].errors
    with pytest.raises(TableError, match="no column 'model'"):
        read_systems(path, column="model")
