"""Which engines a host has and which it could fetch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.factories_models import install_paint_model
from workers import registry
from workers.engines.base import SpeechEngine
from workers.engines.child import hosted
from workers.messages import QUEUE_CORE, QUEUE_PAINT, QUEUE_SPEECH, PaintRequest, Scene, Transcript
from workers.models import licences
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import Candidate
from workers.models.store import MANIFEST, Manifest, StoredFile

BEST = "whisper-base"
"""What the profile of these tests hears with."""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No models, no wishes; engines are chosen anew before and after."""
    for name in ("MEETVIZ_SPEECH", "MEETVIZ_VOICE", "MEETVIZ_PAINTER", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    # So that what is offered does not depend on the machine that runs the tests.
    monkeypatch.setenv("MEETVIZ_PROFILE", "laptop-cuda")
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    registry.unload_all()
    yield tmp_path / "models"
    registry.unload_all()


def offered(queue: str = QUEUE_SPEECH) -> list[str]:
    return [offer.model for offer in registry.offers(queue)]


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


def test_who_asked_for_a_demo_engine_is_offered_nothing_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_SPEECH", "pocketsphinx")
    assert offered() == ["ecapa-voxceleb"]


def test_who_asked_for_a_model_is_offered_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_SPEECH", "whisper-medium")
    assert offered() == ["whisper-medium", "ecapa-voxceleb"]
    assert registry.facts(QUEUE_SPEECH)["speech"].instead_of == "whisper-medium"


def test_where_nothing_may_be_fetched_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert offered() == [] and offered(QUEUE_PAINT) == []


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


# Painters


def painter_facts() -> tuple[str, str]:
    """(model at work, in place of which)"""
    facts = registry.facts(QUEUE_PAINT)["paint"]
    return facts.model if not facts.demo else facts.name, facts.instead_of


@pytest.fixture
def empty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much room as any model needs, whatever disk the tests run on."""
    usage = shutil.disk_usage(".")._replace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


def test_a_host_with_the_poster_offers_the_painter_that_suits_it(empty_disk: None) -> None:
    (offer,) = registry.offers(QUEUE_PAINT)
    assert (offer.model, offer.role, offer.size_bytes) == ("sd15-lcm", "paint", CATALOGUE["sd15-lcm"].size_bytes)


def test_a_painter_that_is_here_is_not_offered_but_told(empty_disk: None, models: Path) -> None:
    install_paint_model(models, "sd15-lcm")
    install_paint_model(models, "sd-turbo")
    assert offered(QUEUE_PAINT) == []
    assert set(registry.installed(QUEUE_PAINT)) == {"sd15-lcm", "sd-turbo"} and registry.installed(QUEUE_SPEECH) == []
    assert painter_facts() == ("sd15-lcm", "")
    assert registry.facts(QUEUE_PAINT)["paint"].profile == "laptop-cuda"


def test_a_painter_is_not_offered_where_the_disk_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(free=CATALOGUE["sd15-lcm"].size_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert offered(QUEUE_PAINT) == []


def test_a_machine_that_does_not_paint_is_offered_no_painter(empty_disk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_PROFILE", "demo")
    assert offered(QUEUE_PAINT) == [] and offered() == []


def test_a_restricted_painter_is_offered_only_when_it_was_named_and_its_licence_accepted(
    empty_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEETVIZ_PAINTER", "sd-turbo")
    assert offered(QUEUE_PAINT) == [] and painter_facts() == ("poster", "sd-turbo")
    licences.accept(CATALOGUE["sd-turbo"], "a test")
    assert offered(QUEUE_PAINT) == ["sd-turbo"]


def test_a_painter_that_cannot_be_loaded_gives_way_to_the_poster(models: Path) -> None:
    """Here with the painter itself, in its process: its files say "x"."""
    install_paint_model(models, "sd15-lcm")
    painter = registry.painter(within_s=None)
    picture = painter.paint(PaintRequest("id", 1, "a bridge", "", Scene("bridge"), 1))
    assert picture.image.size == (1024, 576) and picture.compromises == ["other_model"]
    assert painter.facts().name == "poster" and painter_facts() == ("poster", "sd15-lcm")


@pytest.mark.parametrize("wish", ["diffusers", "oil", "/nowhere"])
def test_a_painter_that_is_none_is_answered_by_the_poster(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setenv("MEETVIZ_PAINTER", wish)
    assert registry.painter().facts().name == "poster"
    assert painter_facts() == ("poster", wish.strip("/"))


def test_a_model_gets_the_settings_of_the_profile(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = install_paint_model(models, "sdxl-lcm")
    candidate = Candidate(Role.PAINT, "diffusers", "sdxl-lcm", folder)
    settings = registry.paint_settings(candidate)
    assert (settings.profile, settings.offload, settings.width_px) == ("laptop-cuda", "model", 1024)
    monkeypatch.setenv("MEETVIZ_PAINT_DEVICE", "cpu")
    assert registry.paint_settings(candidate).device == "cpu"


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
