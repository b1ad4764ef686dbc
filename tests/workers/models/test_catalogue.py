"""The catalogue agrees with the libraries that load what it names."""

from __future__ import annotations

from faster_whisper.utils import _MODELS

from workers.models.catalogue import CATALOGUE, Role


def test_the_repositories_are_those_that_faster_whisper_names() -> None:
    for model in CATALOGUE.values():
        if model.role == Role.SPEECH:
            assert model.repository == _MODELS[model.name.removeprefix("whisper-")], model.name


def test_what_is_written_down_of_each_model() -> None:
    for name, model in CATALOGUE.items():
        assert name == model.name and model.licence in ("MIT", "Apache-2.0") and model.note
        assert 50_000_000 < model.size_bytes < 4_000_000_000


def test_turbo_and_distilled_models_do_not_translate() -> None:
    assert [name for name, model in CATALOGUE.items() if model.role == Role.SPEECH and not model.translates] == [
        "whisper-large-v3-turbo", "distil-large-v3",
    ]  # fmt: skip


def test_only_plain_names_belong_to_a_model() -> None:
    model = CATALOGUE["whisper-base"]
    assert model.wants("vocabulary.json") and model.wants("model.bin")
    for name in ("vocabulary./../../x", "../model.bin", ".model.bin", "sub/model.bin", "model.bin.part", ""):
        assert not model.wants(name), name
