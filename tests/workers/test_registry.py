"""Which engines a host has and which it could fetch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from workers import registry
from workers.engines.base import SpeechEngine
from workers.engines.child import hosted
from workers.hardware import probe
from workers.messages import QUEUE_CORE, QUEUE_PAINT, QUEUE_SPEECH, Transcript
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import recommended
from workers.models.store import MANIFEST, Manifest, StoredFile

BEST = recommended(Role.SPEECH, probe()).name


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No models, no wishes; engines are chosen anew before and after."""
    for name in ("MEETVIZ_SPEECH", "MEETVIZ_VOICE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    registry.unload_all()
    yield tmp_path / "models"
    registry.unload_all()


def offered() -> list[str]:
    return [offer.model for offer in registry.offers(QUEUE_SPEECH)]


def install(models: Path, name: str) -> None:
    """Whole, as far as sizes go; no engine could load it."""
    folder = models / name
    folder.mkdir(parents=True)
    files = [pattern.replace("*", "txt") for pattern in CATALOGUE[name].needed]
    for file in files:
        (folder / file).write_text("x")
    Manifest(name, "here", "", 0.0, [StoredFile(file, 1, "0" * 64) for file in files]).write(folder / MANIFEST)


def test_each_queue_has_its_engines() -> None:
    speech = registry.facts(QUEUE_SPEECH)
    assert {role: (facts.name, facts.demo) for role, facts in speech.items()} == {
        "speech": ("pocketsphinx", True), "voice": ("resemblyzer", True),
    }  # fmt: skip
    assert registry.facts(QUEUE_PAINT)["paint"].name == "poster"
    assert registry.facts(QUEUE_CORE) == {}


def test_a_host_with_demo_engines_offers_what_suits_its_hardware() -> None:
    assert offered() == [BEST, "ecapa-voxceleb"]
    assert {offer.role for offer in registry.offers(QUEUE_SPEECH)} == {"speech", "voice"}
    assert registry.offers(QUEUE_PAINT) == []


def test_who_asked_for_a_demo_engine_is_offered_nothing_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_SPEECH", "pocketsphinx")
    assert offered() == ["ecapa-voxceleb"]


def test_who_asked_for_a_model_is_offered_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_SPEECH", "whisper-medium")
    assert offered() == ["whisper-medium", "ecapa-voxceleb"]
    assert registry.facts(QUEUE_SPEECH)["speech"].instead_of == "whisper-medium"


def test_where_nothing_may_be_fetched_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert offered() == []


def test_what_is_installed_is_not_offered_and_its_name_is_told(models: Path) -> None:
    install(models, BEST)
    install(models, "ecapa-voxceleb")
    assert offered() == []
    facts = registry.facts(QUEUE_SPEECH)
    assert (facts["speech"].name, facts["speech"].model) == ("faster-whisper", BEST)
    assert (facts["voice"].name, facts["voice"].model) == ("speechbrain", "ecapa-voxceleb-192")


def test_real_engines_that_cannot_be_loaded_give_way_to_the_demo_engines(models: Path) -> None:
    """Here with the engines themselves, each in its process: their files say "x"."""
    install(models, BEST)
    install(models, "ecapa-voxceleb")
    silence = np.zeros(16_000, np.float32)
    assert registry.speech_engine().transcribe(silence, "en").text == ""
    assert registry.voice_engine().embed(silence) is None
    facts = registry.facts(QUEUE_SPEECH)
    assert (facts["speech"].name, facts["speech"].instead_of) == ("pocketsphinx", BEST)
    assert (facts["voice"].name, facts["voice"].instead_of) == ("resemblyzer", "ecapa-voxceleb")


class Environment(SpeechEngine):
    """Says what its process was told about downloads."""

    name, model = "environment", "none"

    def _load(self) -> None:
        pass

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        return Transcript(os.environ["HF_HUB_OFFLINE"] + os.environ["TRANSFORMERS_OFFLINE"])


def test_no_library_may_download_in_an_engines_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    engine = hosted(Environment)
    try:
        assert engine.transcribe(np.zeros(1, np.float32), "en").text == "11"
    finally:
        engine.unload()
