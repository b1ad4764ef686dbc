"""`manage.py models`: what a person reads who fetches, lists and checks models."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from tests.workers.models.conftest import add_paint_model, base, hub, models, painting  # noqa: F401  (fixtures)
from tests.workers.models.hub_server import LocalHub
from workers.models.catalogue import CATALOGUE, Model


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def line_of(model: str) -> str:
    (line,) = [line for line in run("list").splitlines() if line[3:].split(" ")[0] == model]
    return line


def fails(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_list_shows_each_model_and_what_this_machine_would_use(models: Path) -> None:  # noqa: F811
    listed = run("list")
    for model in CATALOGUE.values():
        assert model.name in listed and "not here" in line_of(model.name) and model.licence in line_of(model.name)
    assert listed.count("the built-in demo engine") == 3 and "models pull whisper-" in listed
    assert f"Models are in {models}" in listed


def test_a_model_is_pulled_listed_and_verified(base: Model, models: Path) -> None:  # noqa: F811
    assert f"whisper-base is here and whole: {models / 'whisper-base'}" in run("pull", "whisper-base")
    assert line_of("whisper-base").startswith(" →") and " installed " in line_of("whisper-base")
    assert "Used here: whisper-base" in run("list")
    assert "whisper-base: every file is as it was fetched" in run("verify")


def test_the_list_says_why_another_model_is_used(
    base: Model,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("pull", "whisper-base")
    monkeypatch.setenv("MEETVIZ_SPEECH", "pocketsphinx")
    assert "pocketsphinx, because MEETVIZ_SPEECH says so" in run("list")
    monkeypatch.setenv("MEETVIZ_SPEECH", "whisper-tiny")
    assert "pocketsphinx, because whisper-tiny cannot be: it is not installed" in run("list")
    monkeypatch.setenv("MEETVIZ_SPEECH", "whisper")
    assert "MEETVIZ_SPEECH must be one of auto, pocketsphinx, whisper-tiny" in run("list")


def test_a_damaged_model_is_shown_and_mended(base: Model, models: Path) -> None:  # noqa: F811
    run("pull", "whisper-base")
    weights = models / "whisper-base" / "model.bin"
    weights.write_bytes(bytes(1_000_000))
    assert "models pull whisper-base" in fails("verify")
    assert "DAMAGED" in line_of("whisper-base") and "model.bin was found to be damaged" in run("list")
    run("pull", "whisper-base")
    assert "every file is as it was fetched" in run("verify", "whisper-base")


def test_half_a_model_is_shown_as_half_a_model(base: Model, models: Path) -> None:  # noqa: F811
    staging = models / ".fetching" / "whisper-base"
    staging.mkdir(parents=True)
    (staging / "model.bin.000000000000.part").write_bytes(bytes(37_000_000))
    assert "partly: 37 MB of 148 MB" in line_of("whisper-base")
    assert "whisper-base" in fails("verify")


def test_every_trouble_has_a_sentence(
    base: Model,  # noqa: F811
    hub: LocalHub,  # noqa: F811
    models: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"unknown": fails("pull", "whisper-huge"), "wrong": fails("pull", "whisper-base", "--from", str(tmp_path))}
    hub.status = 401
    said["refused"] = fails("pull", "whisper-base")
    hub.status = 404
    said["not found"] = fails("pull", "whisper-base")
    hub.status = 0
    hub.other_sizes["model.bin"] = 10**15
    said["full"] = fails("pull", "whisper-base")
    hub.other_sizes.clear()
    hub.other_bytes["model.bin"] = bytes(1_000_000)
    said["damaged"] = fails("pull", "whisper-base")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said["forbidden"] = fails("pull", "whisper-base")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said["offline"] = fails("pull", "whisper-base")
    wanted = {"unknown": "whisper-tiny", "wrong": "it lacks", "refused": "HF_TOKEN", "not found": "--from",
              "full": "MB are needed", "damaged": "Pull again", "forbidden": "HF_HUB_OFFLINE",
              "offline": "works without a network"}  # fmt: skip
    for trouble, words in wanted.items():
        assert words in said[trouble], trouble
        assert "%(" not in said[trouble]


def test_one_folder_is_for_one_model(tmp_path: Path) -> None:
    assert "--from" in fails("pull", "whisper-base", "whisper-tiny", "--from", str(tmp_path))


def test_nothing_to_verify_is_no_error(models: Path) -> None:  # noqa: F811
    with translation.override("en"):
        assert "nothing to verify" in run("verify")
    assert "whisper-tiny" in fails("verify", "whisper-tiny")


def test_a_paint_model_is_listed_with_terms_abilities_and_extras(painting: Model) -> None:  # noqa: F811
    line = line_of("sd15-lcm")
    for words in ("2.3 GB", "CreativeML OpenRAIL-M", "with restrictions", "images: start,", "--with ip-adapter|"):
        assert words in line, words
    assert "needs --accept-licence sd-turbo" in line_of("sd-turbo")
    run("pull", "sd15-lcm", "--with", "ip-adapter")
    line = line_of("sd15-lcm")
    assert "installed" in line and "images: start, style, subject" in line and "--with controlnet-depth|" in line
    assert "sd15-lcm: every file is as it was fetched" in run("verify")
    assert "There are: ip-adapter" in fails("pull", "sd15-lcm", "--with", "wings")
    assert "--with" in fails("pull", "sd15-lcm", "--with", "ip-adapter", "--from", "/tmp")


def test_a_restricted_model_is_pulled_after_its_licence_was_accepted(hub: LocalHub, models: Path) -> None:  # noqa: F811
    turbo = CATALOGUE["sd-turbo"]
    add_paint_model(hub, turbo)
    out = io.StringIO()
    with pytest.raises(CommandError, match="--accept-licence sd-turbo"):
        call_command("models", "pull", "sd-turbo", stdout=out)
    assert turbo.notice in out.getvalue() and turbo.licence_url in out.getvalue()
    assert hub.questions == []
    assert "--accept-licence sd-turbo" in fails("pull", "sd-turbo", "--accept-licence", "sdxl-turbo")
    said = run("pull", "sd-turbo", "--accept-licence", "sd-turbo")
    assert f"The licence of sd-turbo is accepted for this host: {turbo.licence}" in said
    assert f"sd-turbo is here and whole: {models / 'sd-turbo'}" in said
    assert "licence accepted" in line_of("sd-turbo")
    assert "whisper-tiny" in fails("pull", "sd-turbo", "--accept-licence", "sd-huge")
