# SPDX-License-Identifier: Apache-2.0
"""Importers: what each corpus says arrives in its cuts; lhotse's own readers agree."""

import math
from pathlib import Path
from typing import Any

import pytest
from lhotse import CutSet
from lhotse.kaldi import load_kaldi_data_dir
from lhotse.recipes import prepare_librispeech

from evenear.data.corpora.importers import (
    ROW_READERS,
    import_common_voice,
    import_kaldi,
    import_librispeech,
    import_nemo,
    import_utterances_jsonl,
)
from evenear.data.corpora.manifests import Utterance, load_cuts, save_cuts, utterance
from evenear.errors import ManifestError
from tiny_corpora import (
    write_common_voice,
    write_json_lines,
    write_kaldi,
    write_librispeech,
    write_lines,
    write_nemo,
    write_tone,
    write_utterances,
)


def said(cuts: CutSet) -> list[Utterance]:
    return [utterance(cut) for cut in cuts]


def heard(cuts: CutSet) -> list[tuple[str, int]]:
    """Every utterance with the number of samples that lhotse decodes for it."""
    return [(cut.id, cut.load_audio().shape[1]) for cut in cuts]


def test_every_importer_gives_cuts_that_lhotse_can_decode(tmp_path):
    corpora = [
        import_utterances_jsonl(write_utterances(tmp_path / "u")),
        import_librispeech(write_librispeech(tmp_path / "l")),
        import_kaldi(write_kaldi(tmp_path / "k", segments=True)),
        import_nemo(write_nemo(tmp_path / "n")),
        import_common_voice(write_common_voice(tmp_path / "c")),
    ]
    for cuts in corpora:
        assert heard(cuts) == [(cut.id, cut.num_samples) for cut in cuts]
        saved = save_cuts(cuts, tmp_path / "cuts.jsonl.gz")
        assert said(load_cuts(saved)) == said(cuts)


def test_headers_are_believed_and_no_rate_is_assumed(tmp_path):
    audio = write_tone(tmp_path / "a.wav", 0.5, sample_rate=44_100, channels=2)
    row = {"utterance_id": "u", "speaker": "s", "text": "T", "audio": audio.name, "seconds": 0.52}
    manifest = write_json_lines(tmp_path / "utterances.jsonl", [row])
    (cut,) = import_utterances_jsonl(manifest)
    assert (cut.sampling_rate, cut.duration, cut.num_channels) == (44_100, 0.5, 2)
    assert cut.load_audio().shape == (2, 22_050)
    (quick,) = load_cuts(manifest)
    assert (quick.sampling_rate, quick.duration) == (16_000, 0.52)
    assert utterance(quick).audio == utterance(cut).audio == audio


def test_librispeech_says_what_lhotse_says(tmp_path):
    folder = write_librispeech(tmp_path)
    found = {u.utterance_id: u for u in said(import_librispeech(folder))}
    prepared: Any = prepare_librispeech(tmp_path, dataset_parts="dev-clean")["dev-clean"]
    theirs = CutSet.from_manifests(**prepared).trim_to_supervisions()
    assert len(found) == len(list(theirs)) == 4
    for cut in theirs:
        expected, ours = utterance(cut), found[cut.supervisions[0].id]
        assert (ours.speaker, ours.text) == (expected.speaker, expected.text)
        assert (ours.audio, ours.seconds) == (expected.audio, pytest.approx(expected.seconds))


def test_librispeech_keeps_gender_and_split(tmp_path):
    folder = write_librispeech(tmp_path)
    for place in (folder, tmp_path, folder / "14"):
        first = said(import_librispeech(place))[0]
        assert first.attributes == {"gender": "female", "split": "dev-clean"}
    genders = {u.speaker: u.attributes["gender"] for u in said(import_librispeech(folder))}
    assert genders == {"14": "female", "19": "male"}


def test_librispeech_without_transcripts_or_audio_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="dev-clean"):
        import_librispeech(tmp_path)
    folder = write_librispeech(tmp_path)
    (folder / "19/198/19-198-0001.flac").unlink()
    with pytest.raises(ManifestError, match=r"19-198.trans.txt:2 \(19-198-0001\).*\.flac"):
        import_librispeech(folder)


@pytest.mark.parametrize("segments", [False, True])
def test_kaldi_says_what_lhotse_says(tmp_path, segments):
    folder = write_kaldi(tmp_path, segments=segments)
    if segments:  # an end of -1 is Kaldi's, but lhotse does not know it
        write_lines(folder / "segments", ["ann-1 r1 0.25 0.75", "bob-1 r1 1.0 2.0"])
    absolute = [f"r{n} {folder / f'wav/r{n}.wav'}" for n in (1, 2)]
    write_lines(folder / "wav.scp", absolute)
    recordings, supervisions, _ = load_kaldi_data_dir(folder, sampling_rate=16_000)
    theirs = CutSet.from_manifests(
        recordings=recordings, supervisions=supervisions
    ).trim_to_supervisions(keep_overlapping=False)
    ours = {u.utterance_id: u for u in said(import_kaldi(folder))}
    assert len(ours) == len(list(theirs)) == 2
    for cut in theirs:
        expected, found = utterance(cut), ours[cut.supervisions[0].id]
        assert (found.speaker, found.audio) == (expected.speaker, expected.audio)
        assert found.text.split() == expected.text.split()
        assert found.start_seconds == pytest.approx(expected.start_seconds)
        assert found.seconds == pytest.approx(expected.seconds)


def test_kaldi_keeps_attributes_and_reads_to_the_end_at_minus_one(tmp_path):
    ann, bob = said(import_kaldi(write_kaldi(tmp_path, segments=True)))
    assert (ann.start_seconds, ann.seconds, ann.is_partial) == (0.25, 0.5, True)
    assert (bob.start_seconds, bob.seconds, bob.is_partial) == (1.0, 1.0, True)
    assert ann.attributes == {"gender": "female", "region": "north coast"}
    assert bob.attributes == {"gender": "male", "region": "south"}


@pytest.mark.parametrize(
    ("name", "lines", "said_of_it"),
    [
        ("wav.scp", ["r1 sox r1.sph -t wav - |", "r2 wav/r2.wav"], r"wav.scp:1 \(r1\).*command"),
        ("wav.scp", ["r1 wav/r1.wav", "r2 data/raw.ark:15"], r"wav.scp:2 \(r2\).*archive"),
        ("wav.scp", ["r1", "r2 wav/r2.wav"], r"wav.scp:1 \(r1\).*names no file"),
        ("wav.scp", ["r1 wav/r1.wav", "r2 wav/gone.wav"], r"wav.scp:2 \(r2\).*no file"),
        ("wav.scp", ["r1 wav/r1.wav", "r1 wav/r2.wav"], r"wav.scp:2 \(r1\).*line 1"),
        ("wav.scp", ["r1 wav/r1.wav"], r"text:2 \(r2\).*not in wav.scp"),
        ("text", ["r1 HELLO"], r"wav.scp:2 \(r2\).*not in text"),
        ("utt2spk", ["r2 bob"], r"wav.scp:1 \(r1\).*not in utt2spk"),
        ("segments", ["r1 r1 0.5", "r2 r2 0 1"], r"segments:1 \(r1\).*utterance recording start"),
        ("segments", ["r1 r9 0 1", "r2 r2 0 1"], r"segments:1 \(r1\).*'r9' is not in wav.scp"),
        ("segments", ["r1 r1 0.5 9.5", "r2 r2 0 1"], r"segments:1 \(r1\).*ends at 9.50 s"),
        ("segments", ["r1 r1 3 4", "r2 r2 0 1"], r"segments:1 \(r1\).*3.000 s on"),
    ],
)
def test_broken_kaldi_line_is_named(tmp_path, name, lines, said_of_it):
    folder = write_kaldi(tmp_path, segments=False)
    write_lines(folder / name, lines)
    with pytest.raises(ManifestError, match=said_of_it):
        import_kaldi(folder)


def test_kaldi_directory_without_its_files_is_refused(tmp_path):
    write_kaldi(tmp_path, segments=False)
    (tmp_path / "utt2spk").unlink()
    with pytest.raises(ManifestError, match="lacks utt2spk"):
        import_kaldi(tmp_path)


def test_nemo_offsets_are_stretches_of_one_file(tmp_path):
    one, two, three = said(import_nemo(write_nemo(tmp_path)))
    assert (one.start_seconds, one.seconds, one.is_partial) == (0.5, 1.0, True)
    assert (two.start_seconds, two.seconds, two.is_partial) == (1.5, 1.5, True)
    assert (three.start_seconds, three.seconds, three.is_partial) == (0.0, 0.7, False)
    assert one.audio == two.audio == tmp_path / "long.wav"
    assert [u.speaker for u in (one, two, three)] == ["unknown", "3", "unknown"]
    assert (one.attributes, three.attributes) == ({"longitude": 8.5}, {"lang": "en"})
    assert [u.utterance_id for u in (one, two, three)] == [
        "long-0000500",
        "long-0001500",
        "short",
    ]


def test_nemo_rows_may_name_themselves(tmp_path):
    audio = str(write_tone(tmp_path / "a.wav", 0.4))
    rows = [{"audio_filepath": audio, "text": "t", "id": "mine"}]
    (found,) = said(import_nemo(write_json_lines(tmp_path / "m.json", rows)))
    assert (found.utterance_id, found.seconds) == ("mine", 0.4)


def test_common_voice_keeps_what_speakers_said_of_themselves(tmp_path):
    first, second = said(import_common_voice(write_common_voice(tmp_path)))
    assert first.text == 'She said "no".'
    assert first.speaker == "c1"
    assert first.attributes == {
        "age": "thirties",
        "gender": "female_feminine",
        "accents": "Scottish",
        "locale": "en",
        "up_votes": "2",
        "split": "validated",
    }
    assert second.attributes == {"locale": "en", "up_votes": "3", "split": "validated"}
    assert second.utterance_id == "common_voice_en_2"
    assert second.seconds == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("lines", "said_of_it"),
    [
        (["client\tpath\tsentence"], "'client_id'.*Did you mean 'client'"),
        ([], "'client_id'.*empty"),
        (["client_id\tpath\tsentence", "c\ta.wav\tx\ty"], r"validated.tsv:2.*3 columns, it has 4"),
        (["client_id\tpath\tsentence", "c\t\tx"], r"validated.tsv:2.*'path' is empty"),
        (["client_id\tpath\tsentence", "\ta.wav\tx"], r"validated.tsv:2 \(a\).*'client_id'"),
        (["client_id\tpath\tsentence", "c\ta.wav\tx"], r"validated.tsv:2 \(a\).*no file"),
    ],
)
def test_broken_common_voice_table_is_refused(tmp_path, lines, said_of_it):
    table = write_lines(tmp_path / "validated.tsv", lines)
    with pytest.raises(ManifestError, match=said_of_it):
        import_common_voice(table)


def test_numbers_that_are_none_are_dropped_and_zips_stay_text(tmp_path):
    audio = write_tone(tmp_path / "a.wav", 0.4).name
    common = {"speaker": 7, "text": "T", "audio": audio}
    rows: list[dict[str, object]] = [
        {"utterance_id": 1, **common, "zip": 94103.0, "latitude": math.nan, "age": None},
        {"utterance_id": 2, **common, "zipcode": "02138", "gender": "non-binary", "lat": 1.5},
    ]
    manifest = write_json_lines(tmp_path / "utterances.jsonl", rows)
    for cuts in (import_utterances_jsonl(manifest), load_cuts(manifest)):
        first, second = said(cuts)
        assert (first.utterance_id, first.speaker) == ("1", "7")
        assert first.attributes == {"zip": "94103"}
        assert second.attributes == {"zip": "02138", "gender": "non-binary", "latitude": 1.5}


def test_missing_corpus_is_refused_by_every_importer(tmp_path):
    importers = [
        import_utterances_jsonl,
        import_librispeech,
        import_kaldi,
        import_nemo,
        import_common_voice,
    ]
    assert len(importers) == len(ROW_READERS)
    for importer in importers:
        with pytest.raises(ManifestError, match="There is no"):
            importer(tmp_path / "missing")


def test_text_renamed_to_wav_is_named_with_its_row(tmp_path):
    manifest = write_utterances(tmp_path)
    Path(tmp_path / "audio/u2.wav").write_text("not a sound", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"utterances.jsonl:2 \(u2\).*not a sound"):
        import_utterances_jsonl(manifest)


def test_a_folder_of_utterances_will_do(tmp_path):
    path = write_utterances(tmp_path)
    assert said(import_utterances_jsonl(tmp_path)) == said(import_utterances_jsonl(path))
    with pytest.raises(ManifestError, match="must hold one of utterances"):
        import_utterances_jsonl(path.parent / "audio")


def test_all_nemo_manifests_of_a_folder_are_read_and_name_their_splits(tmp_path):
    path = write_nemo(tmp_path)
    names = [u.utterance_id for u in said(import_nemo(path))]
    rows = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    write_lines(tmp_path / "test_manifest.json", rows[:1])
    write_lines(tmp_path / "train_manifest.json", rows[1:])
    found = said(import_nemo(tmp_path))
    assert [u.utterance_id for u in found] == names
    assert [u.attributes["split"] for u in found] == ["test", *["train"] * (len(rows) - 1)]
    with pytest.raises(ManifestError, match="must hold NeMo manifests"):
        import_nemo(tmp_path / "audio" if (tmp_path / "audio").is_dir() else empty(tmp_path))


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_the_splits_of_a_common_voice_folder_are_read(tmp_path):
    path = write_common_voice(tmp_path)
    assert said(import_common_voice(tmp_path)) == said(import_common_voice(path))
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    for name, own in (
        ("other", rows),
        ("validated", rows),
        ("test", rows[:1]),
        ("train", rows[1:]),
    ):
        write_lines(tmp_path / f"{name}.tsv", [header, *own])
    found = said(import_common_voice(tmp_path))
    assert [u.attributes["split"] for u in found] == ["train"] * (len(rows) - 1) + ["test"]
    for name in ("test", "train"):
        (tmp_path / f"{name}.tsv").unlink()
    with pytest.raises(ManifestError, match=r"holds other\.tsv, validated\.tsv"):
        import_common_voice(tmp_path)


def test_broken_rows_are_skipped_if_somebody_is_told(tmp_path):
    path = write_utterances(tmp_path)
    rows = path.read_text(encoding="utf-8").splitlines()
    lost = rows[1].replace("audio/", "nowhere/")
    write_lines(path, ["{", rows[0], lost, *rows[2:], rows[0]])
    told: list[str] = []
    found = said(import_utterances_jsonl(path, skipped=told.append))
    assert len(found) == len(rows) - 1
    assert [line.split(":")[1].split(" ")[0] for line in told] == ["1", "3", str(len(rows) + 2)]
    with pytest.raises(ManifestError, match=":1"):
        import_utterances_jsonl(path)
