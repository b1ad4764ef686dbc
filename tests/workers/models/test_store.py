"""What lies in the models' folder: whole, half, damaged, not there; found out cheaply, and to the last bit if asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.models import store
from workers.models.catalogue import CATALOGUE, Model
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import pull
from workers.models.store import MANIFEST, Manifest, State, look, verify


@pytest.fixture
def folder(base: Model) -> Path:
    """whisper-base, installed."""
    return pull(base)


def test_a_model_that_nobody_fetched_is_absent(models: Path) -> None:
    seen = look(CATALOGUE["whisper-small"])
    assert (seen.state, seen.here_bytes) == (State.ABSENT, 0)
    assert not models.exists()


def test_a_whole_model_is_whole(base: Model, folder: Path) -> None:
    seen = look(base)
    assert (seen.state, seen.folder, seen.problem) == (State.WHOLE, folder, "")
    assert verify(base) == []


def truncate(folder: Path) -> None:
    with (folder / "model.bin").open("r+b") as file:
        file.truncate(1_000)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file cut short": (truncate, "model.bin has 1000 bytes instead of 1000000"),
    "a file missing": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), f"no {MANIFEST}"),
    "half a manifest": (lambda folder: (folder / MANIFEST).write_text('{"model": "whis'), f"no {MANIFEST}"),
    "a manifest of something else": (lambda folder: (folder / MANIFEST).write_text("[]"), f"no {MANIFEST}"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_half_copied_folder_is_seen_at_a_glance_and_when_verified(
    base: Model, folder: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(folder)
    seen = look(base)
    assert seen.state == State.DAMAGED and words in seen.problem
    assert any(words in problem for problem in verify(base))


def test_a_changed_byte_is_found_by_verify_and_remembered(base: Model, folder: Path) -> None:
    content = bytearray((folder / "model.bin").read_bytes())
    content[500_000] ^= 1
    (folder / "model.bin").write_bytes(content)
    assert look(base).state == State.WHOLE
    before = store.stamp()
    assert "model.bin is damaged" in verify(base)[0]
    assert look(base).state == State.DAMAGED
    assert store.stamp() != before
    content[500_000] ^= 1
    (folder / "model.bin").write_bytes(content)
    assert verify(base) == [] and look(base).state == State.WHOLE


def test_verify_reads_every_byte(base: Model, folder: Path) -> None:
    counts: list[int] = []
    verify(base, counts.append)
    assert sum(counts) == look(base).all_bytes


def test_a_model_of_which_only_a_part_was_fetched_is_partly_here(base: Model, models: Path) -> None:
    staging = models / ".fetching" / base.name
    staging.mkdir(parents=True)
    files = [store.StoredFile("model.bin", 1_000_000, "0" * 64)]
    Manifest(base.name, base.repository, "c" * 40, 0.0, files).write(staging / store.PLAN)
    (staging / "model.bin.000000000000.part").write_bytes(bytes(250_000))
    seen = look(base)
    assert (seen.state, seen.here_bytes, seen.all_bytes) == (State.PARTLY, 250_000, 1_000_000)
    assert verify(base) == ["only a part of it was fetched"]


def test_there_is_nothing_to_verify_where_nothing_is(base: Model) -> None:
    with pytest.raises(ModelError) as caught:
        verify(base)
    assert caught.value.trouble == Trouble.NOT_FOUND and "models pull whisper-base" in str(caught.value)


def test_the_stamp_changes_when_a_model_comes_and_when_it_goes(base: Model, models: Path) -> None:
    stamps = [store.stamp()]
    folder = pull(base)
    stamps.append(store.stamp())
    shutil.rmtree(folder)
    stamps.append(store.stamp())
    assert stamps[0] == stamps[2] != stamps[1]


def test_the_stamp_stays_while_a_model_is_being_fetched(base: Model) -> None:
    stamps = set()
    pull(base, lambda progress: stamps.add(store.stamp()) if progress.state == "fetching" else None)
    assert len(stamps) == 1


def test_models_lie_in_the_home_folder_if_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEETVIZ_MODELS_DIR", raising=False)
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path))
    assert store.models_dir() == tmp_path / "models"
    monkeypatch.delenv("MEETVIZ_HOME")
    assert store.models_dir() == Path(__file__).resolve().parents[3] / "var" / "models"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="whisper-large-v3-turbo") as caught:
        store.named("whisper-huge")
    assert caught.value.trouble == Trouble.UNKNOWN_MODEL


def test_the_manifest_can_be_read_by_people(base: Model, folder: Path) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    assert set(values) == {
        "model", "source", "commit", "fetched_at", "files", "damaged", "origins", "extras",
    }  # fmt: skip
