# SPDX-License-Identifier: Apache-2.0
import sqlite3

import numpy as np
import pytest

from evenear.errors import EvenearError
from evenear.verification.enrolments import Enrolments
from evenear.verification.listening import Voice


def voice(*numbers: float, seconds: float = 2.0) -> Voice:
    vector = np.array(numbers, np.float32)
    return Voice(vector / np.linalg.norm(vector), seconds)


def test_a_template_is_the_mean_direction_and_survives_reopening(tmp_path):
    path = tmp_path / "voices.db"
    row = Enrolments(path, version="m-1").enroll("ann", [voice(1, 0), voice(0, 1)])
    assert (row.recordings, row.speech_seconds) == (2, 4.0)
    again = Enrolments(path, version="m-1")
    np.testing.assert_allclose(again.template("ann"), [0.5**0.5, 0.5**0.5], atol=1e-6)
    assert [one.name for one in again.names()] == ["ann"]


def test_looking_makes_no_file(tmp_path):
    enrolments = Enrolments(tmp_path / "voices.db", version="m-1")
    assert enrolments.names() == []
    assert enrolments.threshold is None
    with pytest.raises(EvenearError, match="Nobody"):
        enrolments.template("ann")
    assert not (tmp_path / "voices.db").exists()


def test_nothing_is_enrolled_by_accident(tmp_path):
    enrolments = Enrolments(tmp_path / "voices.db", version="m-1")
    for name, voices in (("", [voice(1, 0)]), ("ann", [])):
        with pytest.raises(EvenearError, match="needs a name and a recording"):
            enrolments.enroll(name, voices)
    assert not (tmp_path / "voices.db").exists()
    enrolments.enroll("ann", [voice(1, 0)])
    with pytest.raises(EvenearError, match="already"):
        enrolments.enroll("ann", [voice(0, 1)])
    np.testing.assert_allclose(enrolments.template("ann"), [1, 0])
    enrolments.enroll("ann", [voice(0, 1)], replace=True)
    np.testing.assert_allclose(enrolments.template("ann"), [0, 1])


def test_deleted_means_no_byte_of_it_is_left_in_the_file(tmp_path):
    path = tmp_path / "voices.db"
    enrolments = Enrolments(path, version="m-1")
    enrolments.enroll("bob", [voice(1, 2, 3)])
    enrolments.enroll("anneliese", [voice(7, -1, 4)])
    template = enrolments.template("anneliese").astype("<f4").tobytes()
    assert template in path.read_bytes()
    enrolments.delete("anneliese")
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert template not in content
    assert b"anneliese" not in content
    assert [one.name for one in enrolments.names()] == ["bob"]
    with pytest.raises(EvenearError, match="Nobody"):
        enrolments.delete("anneliese")


def test_voices_of_another_version_of_the_model_are_refused(tmp_path):
    path = tmp_path / "voices.db"
    Enrolments(path, version="m-1").enroll("ann", [voice(1, 0)])
    with pytest.raises(EvenearError, match=r"m-1.*m-2") as caught:
        Enrolments(path, version="m-2")
    assert "anew" in (caught.value.hint or "")


def test_other_files_are_refused_and_unharmed(tmp_path):
    (tmp_path / "text.db").write_text("no database, but some text that is long enough")
    with pytest.raises(EvenearError, match="cannot be used"):
        Enrolments(tmp_path / "text.db", version="m-1")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE photos (id INTEGER)")
    db.close()
    with pytest.raises(EvenearError, match="something else"):
        Enrolments(tmp_path / "other.db", version="m-1")


def test_a_threshold_is_kept_and_forgotten(tmp_path):
    enrolments = Enrolments(tmp_path / "voices.db", version="m-1")
    enrolments.set_threshold(0.437)
    assert Enrolments(tmp_path / "voices.db", version="m-1").threshold == 0.437
    enrolments.set_threshold(None)
    assert enrolments.threshold is None


def test_an_error_while_enrolling_changes_nothing(tmp_path):
    path = tmp_path / "voices.db"
    enrolments = Enrolments(path, version="m-1")
    enrolments.enroll("ann", [voice(1, 0)])
    before = path.read_bytes()
    with pytest.raises(EvenearError):
        enrolments.enroll("ann", [voice(0, 1)])
    assert path.read_bytes() == before
