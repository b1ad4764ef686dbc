"""The doctor: what it finds, decides, measures and stores; with hardware that is not here, simulated by its answers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import sounds
from tests.factories_models import install_paint_model
from tests.sites import ROOT
from workers import doctor, probes, tested
from workers.diagnosis import Clip, Report, word_errors, words_of
from workers.engines.base import Engine, EngineError, OnStep, Painted, Painter, SpeechEngine
from workers.hardware import CudaDevice, Hardware
from workers.messages import PaintRequest, Transcript
from workers.models.choice import Candidate
from workers.probes import half_precision, torch_convolutions

CPU = Hardware("Linux", "x86_64", 8, 16_000)
RTX_4060 = dataclasses.replace(CPU, cuda=(CudaDevice(0, "NVIDIA GeForce RTX 4060", (8, 9), 8_188),))
CLIP = Clip(np.zeros(16_000, np.float32), "Yes, a small wooden bridge.")


class Easel(Painter):
    """Paints a grey picture, or fails as its model's name says."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.name, self.model, self.demo = candidate.engine, candidate.name, candidate.demo
        self.fails = candidate.folder is not None and (candidate.folder / "fails").exists()

    def _load(self) -> None:
        if self.fails:
            raise EngineError("model_missing", "its unet is only half there")

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        return Painted(Image.new("RGB", (64, 32)), 1, steps=0 if self.demo else 4, timings_ms={"denoise": 12.34})


class Ear(SpeechEngine):
    name, model = "ear", "ear"
    hears = "Yes, a small wooden bridge"

    def _load(self) -> None:
        if not self.hears:
            raise EngineError("model_missing", "there is no model")

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        return Transcript(self.hears, language)


class Deaf(Ear):
    hears = ""


class Mishearing(Ear):
    hears = "guess as more wouldn't fridge"


class Answers:
    """What the probes answer, and what they were asked."""

    def __init__(self, **devices: dict[str, Any]) -> None:
        self.devices = devices
        self.step: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, name: str, *arguments: str, within_s: float) -> dict[str, Any]:
        assert within_s > 0
        self.asked.append((name, *arguments))
        if name == "device":
            return self.devices.get(arguments[0].replace(":", ""), {"state": "works", "half": "works"})
        return self.step.get(arguments[1], {"step_ms": 250.0, "decode_ms": 100.0})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = ("PROFILE", "PAINTER", "SPEECH", "PAINT_DEVICE", "PAINT_DTYPE", "MODELS_DIR")
    for name in names:
        monkeypatch.delenv(f"MEETVIZ_{name}", raising=False)
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def examined(machine: Hardware = CPU, ask: Answers | None = None, ear: type[Ear] = Ear) -> Report:
    def make_speech(candidate: Candidate) -> Engine:
        return ear()

    return doctor.examine(CLIP, machine=machine, ask=ask or Answers(), make_painter=Easel, make_speech=make_speech)


def codes(report: Report, broken: bool = True) -> list[str]:
    return [problem.code for problem in report.problems if problem.broken == broken]


# Half precision


def numbers(shape: tuple[int, int, int, int]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_convolutions_that_agree_are_right() -> None:
    assert half_precision(lambda shape, dtype: numbers(shape).astype(dtype).astype(np.float32)) == "works"


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("dearest", [0, 2])
def test_one_value_that_is_none_is_enough_to_distrust_a_card(poison: float, dearest: int) -> None:
    """As GTX 16xx cards do, at the size where they do."""

    def convolve(shape: tuple[int, int, int, int], dtype: str) -> np.ndarray:
        found = numbers(shape)
        if dtype == "float16" and shape == probes.SHAPES[dearest]:
            found[0, 1, 2, 3] = poison
        return found

    assert half_precision(convolve) == "nan"


def test_nonsense_and_black_are_as_bad_as_nan() -> None:
    assert half_precision(lambda shape, dtype: numbers(shape) * (1 if dtype == "float32" else -1)) == "wrong"
    assert half_precision(lambda shape, dtype: numbers(shape) * (dtype == "float32")) == "wrong"


def test_torchs_own_convolutions_are_judged_on_this_processor() -> None:
    assert half_precision(torch_convolutions("cpu"), [(1, 16, 8, 8), (2, 32, 4, 4)]) == "works"


def test_the_sizes_that_are_tried_include_the_one_that_fails_on_gtx_16() -> None:
    assert probes.SHAPES[0] == (2, 640, 64, 64)


# Word errors


@pytest.mark.parametrize(
    ("spoken", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a c", "a b c", 1),
        ("a b", "", 2),
        ("", "a", 1),
    ],
)
def test_word_errors_are_counted_as_in_the_word_error_rate(spoken: str, heard: str, errors: int) -> None:
    assert word_errors(spoken.split(), heard.split()) == errors


def test_case_and_punctuation_are_no_errors() -> None:
    assert words_of("Yes, a SMALL bridge. It's Мост!") == ["yes", "a", "small", "bridge", "it's", "мост"]


# What it decides


def test_a_card_that_works_gives_its_profile_and_everything_is_stored(home: Path) -> None:
    report = examined(RTX_4060)
    assert (report.profile, report.broken, report.file) == ("laptop-cuda", False, str(home / "profile.json"))
    stored = tested.read()
    assert stored and stored.devices == {"cuda:0": "works"} and stored.half_precision == {"cuda:0": "works"}
    assert stored.profile == "laptop-cuda" and stored.step_ms == 250.0 and stored.caption_s is not None
    assert stored.fingerprint == tested.fingerprint(RTX_4060)


def test_nan_on_the_card_is_no_failure_but_single_precision(home: Path) -> None:
    ask = Answers(cuda0={"state": "works", "half": "nan"})
    report = examined(RTX_4060, ask)
    assert not report.broken and report.findings.half_precision == {"cuda:0": "nan"}
    assert "half_precision_fails" in {reason.code for reason in report.why}
    assert ("step", "cuda", "float32", "4") in ask.asked  # without channels_last, which is for half precision


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"state": "no_support"}, "torch_without_device"),
        ({"state": "failed", "detail": "OSError"}, "device_fails"),
        ({"state": "timeout"}, "device_fails"),
    ],
)
def test_a_card_that_torch_cannot_use_is_told_with_what_to_do_and_the_processor_paints(
    home: Path, answer: dict[str, Any], code: str
) -> None:
    report = examined(RTX_4060, Answers(cuda0=answer))
    assert report.profile == "cpu-server" and codes(report, broken=False) == [code] and not report.broken


def test_bfloat16_that_is_slower_is_left_alone(home: Path) -> None:
    ask = Answers()
    ask.step = {"bfloat16": {"step_ms": 900.0, "decode_ms": 1.0}, "float32": {"step_ms": 300.0, "decode_ms": 1.0}}
    report = examined(dataclasses.replace(CPU, bfloat16=True), ask)
    assert not report.findings.bfloat16_helps and report.findings.step_ms == 300.0
    ask.step["bfloat16"]["step_ms"] = 100.0
    assert examined(dataclasses.replace(CPU, bfloat16=True), ask).findings.bfloat16_helps


def test_without_a_model_it_says_what_one_would_give(home: Path) -> None:
    report = examined(CPU)
    assert report.painting and report.painting.model == "poster" and report.painting.picture_s is not None
    worth = report.could_paint
    assert worth and (worth.model, worth.measured, worth.steps) == ("sd15-lcm", False, 4)
    assert worth.picture_s == pytest.approx(4 * 0.250 + 0.100)


def test_larger_models_are_reckoned_by_their_operations(home: Path) -> None:
    h200 = dataclasses.replace(CPU, cuda=(CudaDevice(0, "NVIDIA H200", (9, 0), 143_771),))
    worth = examined(h200).could_paint
    assert worth and worth.model == "sdxl-lightning"
    assert worth.picture_s == pytest.approx(4 * 0.250 * 6_761 / 803 + 0.100 * 4)


def test_an_installed_model_is_painted_with(home: Path) -> None:
    install_paint_model(home / "models", "sd15-lcm")
    report = examined(CPU)
    painting = report.painting
    assert painting and (painting.model, painting.engine, painting.steps) == ("sd15-lcm", "diffusers", 4)
    assert painting.measured and painting.stages_ms == {"denoise": 12.3} and report.could_paint is None
    assert report.installed == ["sd15-lcm"] and not report.broken


def test_what_a_machine_too_small_for_painting_gets(home: Path) -> None:
    ask = Answers()
    report = examined(dataclasses.replace(CPU, cores=1), ask)
    assert (report.profile, report.could_paint, report.broken) == ("demo", None, False)
    assert ask.asked == []


# What is broken


def test_a_model_that_does_not_paint_is_broken(home: Path) -> None:
    folder = install_paint_model(home / "models", "sd15-lcm")
    (folder / "fails").touch()
    report = examined(CPU)
    assert codes(report) == ["painter_failed"] and report.broken
    assert report.problems[-1].values["problem"] == "its unet is only half there"


def test_a_damaged_model_is_broken_and_another_is_tried(home: Path) -> None:
    folder = install_paint_model(home / "models", "sd15-lcm")
    (folder / "model_index.json").unlink()
    install_paint_model(home / "models", "sdxs")
    report = examined(CPU)
    assert codes(report) == ["model_damaged"] and report.painting and report.painting.model == "sdxs"


def test_settings_that_cannot_be_met_are_broken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_PAINTER", "sd-turbo")
    monkeypatch.setenv("MEETVIZ_SPEECH", "whisper-small")
    monkeypatch.setenv("MEETVIZ_PROFILE", "toaster")
    monkeypatch.setenv("MEETVIZ_PAINT_DTYPE", "float8")
    report = examined(CPU)
    assert codes(report) == ["unknown_profile", "bad_paint_setting", "wish_unmet", "wish_unmet"]
    assert report.painting and report.painting.model == "poster"


def test_who_hears_nothing_or_nonsense_is_broken(home: Path) -> None:
    assert codes(examined(ear=Deaf)) == ["speech_failed"]
    report = examined(ear=Mishearing)
    assert (
        codes(report) == ["hears_badly"] and report.hearing and (report.hearing.errors, report.hearing.words) == (5, 5)
    )
    assert codes(examined()) == []


def test_a_home_that_cannot_be_written_is_broken_but_told_all_the_same(home: Path) -> None:
    home.write_text("a file where the folder should be")
    report = examined()
    assert codes(report) == ["not_stored"] and report.painting


def test_a_profile_that_was_asked_for_is_what_is_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_PROFILE", "demo")
    report = examined(RTX_4060)
    assert (report.profile, report.could_paint) == ("demo", None)
    assert [reason.code for reason in report.why] == ["asked_for"]


# The processes


def test_a_probe_that_takes_too_long_is_ended() -> None:
    assert probes.ask("device", "cpu", within_s=0.01) == {"state": "timeout"}


def test_a_probe_that_ends_without_an_answer_has_failed() -> None:
    answer = probes.ask("no such probe", within_s=60)
    assert answer["state"] == "failed" and answer["detail"] == "KeyError"


def test_a_device_that_is_not_here_is_found_out_in_a_process_of_its_own() -> None:
    assert probes.ask("device", "cuda:99", within_s=120) == {"state": "no_support"}
    assert probes.ask("device", "cpu", within_s=120) == {"state": "works"}


@pytest.mark.slow
def test_the_command_works_in_an_empty_home_without_a_database(tmp_path: Path) -> None:
    """With the poster and the built-in recogniser; the step is really timed."""
    environment = {
        "PATH": "/usr/bin:/bin", "MEETVIZ_HOME": str(tmp_path / "home"), "DATABASE_URL": "postgres://x@127.0.0.1:1/x",
        "MEETVIZ_SPEECH": "pocketsphinx", "LANGUAGE_CODE": "en",
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["profile"] and told["painting"]["model"] == "poster" and told["painting"]["picture_s"] > 0
    assert told["hearing"]["words"] == len(words_of(sounds.lines()[3].text))
    assert told["hearing"]["errors"] <= told["hearing"]["words"] // 2
    stored = json.loads((tmp_path / "home" / "profile.json").read_text())
    assert stored["profile"] == told["profile"] and not told["broken"]
