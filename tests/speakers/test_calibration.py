"""Thresholds from recordings of known people: measured on made-up voices whose answer is known; then the command."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given, settings
from hypothesis import strategies as st

from speakers import calibration
from speakers.calibration import (
    CONSERVATIVE,
    KNOWN_TAKEN_FOR_ANOTHER,
    KNOWN_TAKEN_FOR_NEW,
    STRANGER_TAKEN_FOR_KNOWN,
    Doubt,
    Material,
    Piece,
    TooLittleToCalibrate,
    calibrate,
    equal_error_rate,
    forget_thresholds,
    highest_below,
    lowest_above,
    open_set_trials,
    thresholds_for,
)
from speakers.matching import THRESHOLDS, Thresholds
from speakers.models import Calibration
from tests.sounds import RATE_HZ, lines, silence, spoken

MODEL = "resemblyzer-ge2e-256"
MEASURED = Thresholds(upper=0.5, lower=0.3, margin=0.1)


@pytest.fixture(autouse=True)
def nothing_cached() -> Iterator[None]:
    forget_thresholds()
    yield
    forget_thresholds()


def people(count: int, recordings: int, *, spread: float, seed: int = 1, dimensions: int = 64) -> Material:
    """People whose voices point anywhere, and pieces that point `spread` beside them, less so the longer they are."""
    random = np.random.default_rng(seed)
    material = Material(trials={duration: [] for duration in calibration.DURATIONS_S})

    def piece(person: int, number: int, voice: np.ndarray, speech_s: float) -> Piece:
        noise = random.normal(0, spread / math.sqrt(dimensions * speech_s), dimensions)
        heard = voice + noise
        vector = (heard / np.linalg.norm(heard)).astype(np.float32)
        return Piece(f"person {person}", f"recording {person}/{number}", vector, speech_s)

    for person in range(count):
        voice = random.normal(0, 1, dimensions)
        voice /= np.linalg.norm(voice)
        for number in range(recordings):
            material.enrolment.append(piece(person, number, voice, 6.0))
            for duration, pieces in material.trials.items():
                pieces += [piece(person, number, voice, duration) for _again in range(2)]
    return material


def test_two_bells_a_known_distance_apart_have_the_error_rate_of_the_textbook() -> None:
    random = np.random.default_rng(3)
    genuine, impostors = random.normal(0.8, 0.1, 40_000), random.normal(0.4, 0.1, 40_000)
    rate, threshold = equal_error_rate(genuine, impostors)
    assert rate == pytest.approx(0.5 * math.erfc(2 / math.sqrt(2)), rel=0.05)  # half of the way is two sigmas
    assert threshold == pytest.approx(0.6, abs=0.01)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_the_error_rate_is_a_share_and_the_same_for_mirrored_scores(genuine: list[float], others: list[float]) -> None:
    rate, _threshold = equal_error_rate(np.array(genuine), np.array(others))
    assert 0 <= rate <= 1
    if min(genuine) > max(others):
        assert rate == 0
    if max(genuine) < min(others):
        assert rate >= 0.5


@settings(deadline=None)
@given(st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=200), st.sampled_from([0.0, 0.01, 0.02, 0.1]))
def test_no_more_than_the_share_lies_beyond_a_threshold(values: list[float], share: float) -> None:
    scores = np.array(values)
    assert np.mean(scores >= lowest_above(scores, share)) <= share
    assert np.mean(scores < highest_below(scores, share)) <= share


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_the_thresholds_keep_the_promised_error_rates(spread: float) -> None:
    calibrated = calibrate(people(12, 6, spread=spread))
    assert -1 <= calibrated.thresholds.lower <= calibrated.thresholds.upper <= 1
    for rates in calibrated.rates:
        if rates.speech_s >= 2:
            assert rates.new_taken_for_known <= STRANGER_TAKEN_FOR_KNOWN
            assert rates.known_taken_for_new <= KNOWN_TAKEN_FOR_NEW
            assert rates.known_taken_for_another <= KNOWN_TAKEN_FOR_ANOTHER
    assert (calibrated.speakers, calibrated.recordings) == (12, 72)


def test_voices_far_apart_are_told_apart_without_an_error() -> None:
    calibrated = calibrate(people(10, 5, spread=0.1))
    assert calibrated.doubts() == []
    for rates in calibrated.rates:
        assert (rates.eer, rates.known_taken_for_another, rates.known_taken_for_new) == (0, 0, 0)
        assert rates.new_taken_for_known == 0


def test_more_speech_is_told_apart_better() -> None:
    rates = [rates.eer for rates in calibrate(people(12, 6, spread=2.0)).rates]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 2 * rates[-1]


def test_a_piece_is_never_compared_with_a_voiceprint_that_holds_its_own_recording() -> None:
    material = people(3, 4, spread=0.5)
    for number, piece in enumerate(material.enrolment):  # every recording has a sound of its own
        piece.vector[:] = np.eye(64, dtype=np.float32)[number]
        for pieces in material.trials.values():
            for trial in pieces:
                if trial.recording == piece.recording:
                    trial.vector[:] = piece.vector
    assert all(trials.scores.max() == 0 for trials in open_set_trials(material))


def test_few_people_and_few_recordings_are_doubted() -> None:
    assert calibrate(people(3, 4, spread=0.1)).doubts() == [Doubt.FEW_SPEAKERS, Doubt.FEW_RECORDINGS]


def test_voices_that_nobody_could_tell_apart_are_doubted() -> None:
    assert calibrate(people(12, 6, spread=9.0)).doubts() == [Doubt.VOICES_ALIKE]


@pytest.mark.parametrize("material", [Material(), people(1, 5, spread=0.1), people(4, 1, spread=0.1)])
def test_one_person_or_one_recording_each_is_too_little(material: Material) -> None:
    with pytest.raises(TooLittleToCalibrate):
        calibrate(material)


@pytest.mark.django_db
def test_what_was_measured_here_comes_before_what_was_shipped() -> None:
    assert thresholds_for(MODEL) == THRESHOLDS[MODEL]
    assert thresholds_for("an-unknown-model") == CONSERVATIVE
    row(MODEL)
    forget_thresholds()
    assert thresholds_for(MODEL) == MEASURED
    assert thresholds_for("ecapa-voxceleb-192") == THRESHOLDS["ecapa-voxceleb-192"]


@pytest.mark.django_db
def test_what_another_process_measured_is_seen_within_a_minute(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    now = [1000.0]
    monkeypatch.setattr("speakers.calibration.time.monotonic", lambda: now[0])
    assert thresholds_for(MODEL) == THRESHOLDS[MODEL]
    row(MODEL)
    with django_assert_num_queries(0):
        assert thresholds_for(MODEL) == THRESHOLDS[MODEL]
    now[0] += 60
    assert thresholds_for(MODEL) == MEASURED


def row(model: str) -> Calibration:
    return Calibration.objects.create(
        model=model, upper=MEASURED.upper, lower=MEASURED.lower, margin=MEASURED.margin, speakers=9, recordings=90
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of the shipped dialogue, a file that is no recording and one that is too short."""
    folder = tmp_path_factory.mktemp("people")
    names = list(dict.fromkeys(line.speaker for line in lines()))[:2]
    for name in names:
        (folder / name).mkdir()
        mine = [n for n, line in enumerate(lines()) if line.speaker == name and line.end_s - line.start_s > 3][:3]
        for number in mine:
            soundfile.write(folder / name / f"{number}.flac", spoken(number), RATE_HZ)
    (folder / names[0] / "notes.wav").write_text("not a recording")
    soundfile.write(folder / names[1] / "quiet.wav", silence(1), RATE_HZ)
    return folder


def calibrate_voices(folder: Path, *options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("calibrate_voices", str(folder), "--voice", "resemblyzer", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def voice_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_VOICE", "resemblyzer")  # set back after the command changed it


@pytest.mark.django_db
def test_the_command_measures_stores_and_names_what_it_left_out(recordings: Path) -> None:
    out, err = calibrate_voices(recordings, "--json")
    answer = json.loads(out)
    stored = Calibration.objects.get(model=MODEL)
    assert answer["model"] == MODEL
    assert answer["thresholds"] == {"upper": stored.upper, "lower": stored.lower, "margin": stored.margin}
    assert (stored.speakers, stored.recordings) == (answer["speakers"], answer["recordings"]) == (2, 6)
    assert set(stored.figures) >= {"1", "2"}
    assert all(0 <= stored.figures["2"][name] <= 1 for name in ("eer", "known_taken_for_new", "new_taken_for_known"))
    assert thresholds_for(MODEL) == Thresholds(stored.upper, stored.lower, stored.margin)
    assert "notes.wav" in err
    assert "quiet.wav" in err
    assert any("Only 2 people" in warning for warning in answer["warnings"])


@pytest.mark.django_db
def test_a_dry_run_prints_a_table_and_stores_nothing(recordings: Path) -> None:
    out, err = calibrate_voices(recordings, "--dry-run")
    assert "equal error rate" in out
    assert "Thresholds: known from" in out
    assert "Only 2 people" in err
    assert not Calibration.objects.exists()


@pytest.mark.django_db
def test_one_person_is_refused_with_what_is_needed(recordings: Path, tmp_path: Path) -> None:
    one = next(path for path in recordings.iterdir() if path.is_dir())
    (tmp_path / one.name).symlink_to(one)
    with pytest.raises(CommandError, match="recordings of 1 people; at least two people"):
        calibrate_voices(tmp_path)
    assert not Calibration.objects.exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a folder"):
        calibrate_voices(tmp_path / "nowhere")


@pytest.mark.django_db
def test_the_admin_shows_calibrations_but_changes_none(admin_client: Any) -> None:
    made = row(MODEL)
    assert MODEL in admin_client.get("/admin/speakers/calibration/").content.decode()
    page = f"/admin/speakers/calibration/{made.pk}/change/"
    assert admin_client.get(page).status_code == 200
    assert admin_client.post(page, {"upper": "0.1"}).status_code == 403
    assert admin_client.get("/admin/speakers/calibration/add/").status_code == 403
