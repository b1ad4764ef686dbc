"""Fetching a model from a hub: what is fetched once is not fetched again, and only what is right counts."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workers.models.conftest import add_paint_model, whisper_files
from tests.workers.models.hub_server import LocalHub
from workers.models import fetching, store
from workers.models.catalogue import CATALOGUE, Model, Role
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import Progress, pull
from workers.models.hub import CONNECT_WITHIN_S
from workers.models.licences import accept
from workers.models.store import MANIFEST, State, look

WITHIN_S = 20.0
FILES = {"config.json", "model.bin", "tokenizer.json", "vocabulary.txt"}


def trouble(model: Model) -> ModelError:
    with pytest.raises(ModelError) as caught:
        pull(model)
    assert "\n" not in str(caught.value)
    return caught.value


def half_pulled(model: Model, hub: LocalHub) -> None:
    """Stopped when half of the weights are here."""
    stop = threading.Event()
    hub.hold_at["model.bin"] = 500_000

    def watch(progress: Progress) -> None:
        if progress.done_bytes > 400_000:
            stop.set()
            hub.go_on.set()

    with pytest.raises(ModelError) as caught:
        pull(model, watch, stop)
    assert caught.value.trouble == Trouble.STOPPED
    assert look(model).state == State.PARTLY


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between tries."""
    monkeypatch.setattr(fetching, "WAIT_S", 0.001)


def test_a_pull_brings_what_belongs_to_the_model_and_says_where_it_came_from(base: Model, models: Path) -> None:
    seen: list[Progress] = []
    folder = pull(base, seen.append)
    assert folder == models / "whisper-base"
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["model"], manifest["source"]) == ("whisper-base", "Systran/faster-whisper-base")
    assert manifest["commit"] == "c0ffee" + "0" * 34
    files = whisper_files()
    assert {entry["name"]: entry["sha256"] for entry in manifest["files"]} == {
        name: hashlib.sha256(files[name]).hexdigest() for name in FILES
    }
    assert not list(models.rglob("escape.json")) and not list(models.rglob("*.part"))
    assert not (models / ".fetching" / "whisper-base").exists()
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done) and done[0] == 0
    whole = sum(len(files[name]) for name in FILES)
    assert (seen[-1].state, seen[-1].done_bytes, seen[-1].total_bytes) == ("done", whole, whole)


def test_nobody_sees_the_model_before_all_of_it_is_there(base: Model, models: Path) -> None:
    places = set()
    pull(base, lambda progress: places.add((progress.state == "done", (models / "whisper-base").exists())))
    assert places == {(False, False), (True, True)}


def test_a_cut_download_goes_on_where_it_stopped(base: Model, hub: LocalHub, hurried: None) -> None:
    hub.cut_after["model.bin"] = [500_000, 123_456]
    folder = pull(base)
    assert (folder / "model.bin").read_bytes() == whisper_files()["model.bin"]
    assert hub.ranges_asked("model.bin") == ["", "bytes=500000-", "bytes=623456-"]
    assert hub.bytes_sent("model.bin") == 1_000_000


def test_a_later_pull_goes_on_where_the_one_before_was_stopped(base: Model, hub: LocalHub) -> None:
    half_pulled(base, hub)
    here = look(base).here_bytes
    assert 400_000 < here < 1_000_000
    seen: list[Progress] = []
    pull(base, seen.append)
    first, second = hub.ranges_asked("model.bin")
    resumed_at = int(second.removeprefix("bytes=").removesuffix("-"))
    assert first == "" and resumed_at > 400_000
    assert [asked.sent for asked in hub.asked if asked.file == "model.bin"][1] == 1_000_000 - resumed_at
    assert {progress.state for progress in seen} == {"fetching", "checking", "done"}


def test_what_is_here_of_an_older_edition_is_not_continued_with_a_newer_one(base: Model, hub: LocalHub) -> None:
    half_pulled(base, hub)
    newer = {**whisper_files(), "model.bin": bytes(900_000)}
    hub.add(base.repository, newer).commit = "d" * 40
    folder = pull(base)
    assert hub.ranges_asked("model.bin") == ["", ""]
    assert (folder / "model.bin").read_bytes() == bytes(900_000)


def test_a_server_without_ranges_begins_again_and_the_file_is_right(base: Model, hub: LocalHub, hurried: None) -> None:
    hub.ranges = False
    hub.cut_after["model.bin"] = [500_000]
    folder = pull(base)
    assert hub.ranges_asked("model.bin") == ["", "bytes=500000-"]
    assert (folder / "model.bin").read_bytes() == whisper_files()["model.bin"]


def test_a_hub_that_breaks_off_again_and_again_is_given_up_and_what_is_here_stays(
    base: Model, hub: LocalHub, hurried: None
) -> None:
    hub.cut_after["model.bin"] = [300_000, *[0] * fetching.TRIES]
    assert trouble(base).trouble == Trouble.HUB_BUSY
    assert look(base).here_bytes >= 300_000


@pytest.mark.parametrize("file", ["model.bin", "config.json"])
def test_a_wrong_file_is_refused_and_removed(base: Model, hub: LocalHub, models: Path, file: str) -> None:
    right = whisper_files()[file]
    hub.other_bytes[file] = right[:-1] + bytes([right[-1] ^ 1])
    error = trouble(base)
    assert error.trouble == Trouble.DAMAGED and file in str(error)
    assert not list(models.rglob(f"{file}*")) and look(base).state != State.WHOLE
    hub.other_bytes.clear()
    assert (pull(base) / file).read_bytes() == right


def test_a_file_longer_than_announced_is_refused(base: Model, hub: LocalHub) -> None:
    hub.other_bytes["model.bin"] = whisper_files()["model.bin"] + b"more"
    assert trouble(base).trouble == Trouble.DAMAGED


def test_a_model_that_is_here_is_not_fetched_again_not_even_without_a_network(
    base: Model, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pull(base)
    hub.questions.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(base) == folder
    assert hub.questions == []


def test_of_a_damaged_model_only_the_damaged_file_is_fetched(base: Model, hub: LocalHub) -> None:
    folder = pull(base)
    content = bytearray((folder / "tokenizer.json").read_bytes())
    content[100] ^= 1
    (folder / "tokenizer.json").write_bytes(content)
    hub.asked.clear()
    assert pull(base) == folder
    assert {asked.file for asked in hub.asked} == {"tokenizer.json"}
    assert (folder / "tokenizer.json").read_bytes() == whisper_files()["tokenizer.json"]
    assert look(base).state == State.WHOLE and not list(folder.parent.rglob("*.old"))


def test_two_pulls_at_once_fetch_it_once(base: Model, hub: LocalHub) -> None:
    hub.hold_at["model.bin"] = 100_000
    waiting = threading.Event()

    def second(progress: Progress) -> None:
        if progress.state == "waiting":
            waiting.set()
            hub.go_on.set()

    begun = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(pull, base, lambda progress: begun.set() if progress.done_bytes else None)
        assert begun.wait(WITHIN_S)
        other = pool.submit(pull, base, second)
        assert one.result(WITHIN_S) == other.result(WITHIN_S)
    assert waiting.is_set()
    assert hub.bytes_sent("model.bin") == 1_000_000


def test_who_does_not_want_to_wait_is_told_that_somebody_else_is_at_it(base: Model) -> None:
    with store.locked(base), pytest.raises(ModelError) as caught, store.locked(base):
        pass
    assert caught.value.trouble == Trouble.BUSY


# The hub's own words


def test_the_token_goes_to_the_hub_and_not_to_where_the_large_files_lie(
    base: Model, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    error = trouble(base)
    assert error.trouble == Trouble.REFUSED and "HF_TOKEN" in str(error)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(base)
    tokens = {asked.file: asked.token for asked in hub.asked}
    assert tokens["config.json"] == "Bearer hf_secret" and tokens["model.bin"] == ""


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "refused"), (403, "refused"), (404, "not_found"), (429, "hub_busy"), (503, "hub_busy"), (418, "hub_busy")],
)
def test_what_the_hub_answers_becomes_one_line_that_says_what_to_do(
    base: Model, hub: LocalHub, hurried: None, status: int, code: str
) -> None:
    hub.status = status
    assert trouble(base).trouble == code


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(base: Model, hub: LocalHub, hurried: None) -> None:
    hub.statuses = [503, 429]
    pull(base)
    assert len([question for question in hub.questions if question.startswith("/api/")]) == 3


def test_a_page_where_the_hub_should_be_is_told(base: Model, hub: LocalHub) -> None:
    hub.page = "<html>Please accept the terms of this network</html>"
    error = trouble(base)
    assert error.trouble == Trouble.REFUSED and "HF_ENDPOINT" in str(error)


def test_a_repository_that_is_another_model_by_now_is_told(base: Model, hub: LocalHub) -> None:
    files = whisper_files()
    del files["tokenizer.json"]
    hub.add(base.repository, files)
    assert "tokenizer.json" in str(trouble(base))


# Without a network


def test_a_closed_door_is_told_at_once(base: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
        begun = time.monotonic()
        error = trouble(base)
    assert error.trouble == Trouble.OFFLINE and "--from" in str(error)
    assert time.monotonic() - begun < CONNECT_WITHIN_S


def test_a_name_that_nobody_knows_is_told_within_seconds(base: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    begun = time.monotonic()
    assert trouble(base).trouble == Trouble.OFFLINE
    assert time.monotonic() - begun < 2 * CONNECT_WITHIN_S


def test_an_address_that_is_none_is_told(base: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub")
    assert "HF_ENDPOINT" in str(trouble(base))


def test_where_fetching_is_forbidden_nobody_is_asked(
    base: Model, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = trouble(base)
    assert error.trouble == Trouble.OFFLINE and "HF_HUB_OFFLINE" in str(error)
    assert hub.questions == []


# The disk


def test_a_disk_without_room_is_told_before_anything_is_fetched(base: Model, hub: LocalHub) -> None:
    hub.other_sizes["model.bin"] = 10**15
    error = trouble(base)
    assert error.trouble == Trouble.DISK_FULL and "MEETVIZ_MODELS_DIR" in str(error)
    assert hub.asked == []


def test_a_disk_that_fills_up_on_the_way_is_told(base: Model, models: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # for files of this process, weights are larger
    try:
        error = trouble(base)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.trouble == Trouble.DISK_FULL and str(models) in str(error)
    assert look(base).here_bytes > 0
    assert (pull(base) / "model.bin").read_bytes() == whisper_files()["model.bin"]


def test_a_folder_that_cannot_be_made_is_told(base: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "file" / "models"))
    error = trouble(base)
    assert error.trouble == Trouble.NOT_WRITABLE and "MEETVIZ_MODELS_DIR" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_told(base: Model, models: Path) -> None:
    models.mkdir()
    models.chmod(0o500)
    assert trouble(base).trouble == Trouble.NOT_WRITABLE


def test_every_model_of_the_catalogue_can_be_pulled_from_its_repository(hub: LocalHub) -> None:
    files = {"config.json": b"{}", "model.bin": b"weights", "tokenizer.json": b"{}", "vocabulary.json": b"[]",
             "preprocessor_config.json": b"{}", "hyperparams.yaml": b"a: 1", "embedding_model.ckpt": b"weights",
             "mean_var_norm_emb.ckpt": b"norm", "label_encoder.txt": b"labels", "example1.wav": b"RIFF"}  # fmt: skip
    for model in CATALOGUE.values():
        if model.role == Role.PAINT:
            add_paint_model(hub, model)
        else:
            hub.add(model.repository, files)
        accept(model, "this test")
        folder = pull(model, extras=[extra.name for extra in model.extras])
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
        assert not model.lacks(names, [extra.name for extra in model.extras])
        assert all(model.wants(name) for name in names) and look(model).state == State.WHOLE
