"""A model that somebody brings in a folder: copied only if it is what it is said to be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from workers.models.catalogue import CATALOGUE
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import copy
from workers.models.kind import whisper_shape
from workers.models.store import State, look, verify


def weights(width: int, encoder: int, decoder: int, specification: str = "WhisperSpec") -> bytes:
    """A model.bin with the names and shapes of a Whisper and one number in place of each table."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    names = [
        f"{side}/layer_{n}/x" for side, count in (("encoder", encoder), ("decoder", decoder)) for n in range(count)
    ]
    variables = [("encoder/conv1/weight", (width, 80, 3)), *((name, (width,)) for name in names)]
    content = struct.pack("<I", 6) + text(specification) + struct.pack("<II", 3, len(variables))
    for name, shape in variables:
        content += text(name) + struct.pack("<B", len(shape)) + b"".join(struct.pack("<I", n) for n in shape)
        content += struct.pack("<BI", 0, 4) + b"\1\2\3\4"
    return content + struct.pack("<I", 0)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """whisper-base as faster-whisper keeps it, with links, in a folder of another name."""
    kept, folder = tmp_path / "blobs", tmp_path / "snapshot"
    kept.mkdir()
    folder.mkdir()
    files = {"model.bin": weights(512, 6, 6), "config.json": b"{}", "tokenizer.json": b"{}", "vocabulary.txt": b"a\n"}
    for number, (name, content) in enumerate(files.items()):
        (kept / str(number)).write_bytes(content)
        (folder / name).symlink_to(kept / str(number))
    (folder / "notes.txt").write_text("my own")
    return folder


def refused(name: str, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        copy(CATALOGUE[name], folder)
    assert caught.value.trouble == Trouble.WRONG_KIND
    assert look(CATALOGUE[name]).state == State.ABSENT
    return str(caught.value)


def test_a_folder_becomes_the_model_that_it_is(brought: Path, models: Path) -> None:
    base = CATALOGUE["whisper-base"]
    folder = copy(base, brought)
    assert folder == models / "whisper-base"
    assert not (folder / "model.bin").is_symlink() and not (folder / "notes.txt").exists()
    seen = look(base)
    assert seen.state == State.WHOLE and seen.manifest is not None and seen.manifest.source == str(brought)
    assert verify(base) == []


@pytest.mark.parametrize(
    ("shape", "name"),
    [((384, 4, 4), "whisper-tiny"), ((1280, 32, 4), "whisper-large-v3-turbo"), ((9, 9, 9), "another model")],
)
def test_another_size_of_the_same_is_refused_by_its_name(
    brought: Path, models: Path, shape: tuple[int, int, int], name: str
) -> None:
    (brought / "model.bin").unlink()
    (brought / "model.bin").write_bytes(weights(*shape))
    assert whisper_shape(brought / "model.bin") == shape
    assert f"it is {name}" in refused("whisper-base", brought)


@pytest.mark.parametrize(
    "content",
    [b"", b"weights", weights(512, 6, 6)[:-40], weights(512, 6, 6, "TransformerSpec"), bytes(10_000)],
    ids=["empty", "text", "cut short", "another kind", "zeros"],
)
def test_what_is_no_whisper_is_refused(brought: Path, models: Path, content: bytes) -> None:
    (brought / "model.bin").unlink()
    (brought / "model.bin").write_bytes(content)
    refused("whisper-base", brought)


def test_a_folder_that_lacks_a_file_or_is_not_there_is_refused(brought: Path, models: Path, tmp_path: Path) -> None:
    (brought / "tokenizer.json").unlink()
    assert "tokenizer.json" in refused("whisper-base", brought)
    assert "no such folder" in refused("whisper-base", tmp_path / "nowhere")


def test_a_voice_model_is_known_by_its_hyperparameters(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voice"
    folder.mkdir()
    for name in ("embedding_model.ckpt", "mean_var_norm_emb.ckpt"):
        (folder / name).write_bytes(b"PK\3\4")
    (folder / "hyperparams.yaml").write_text("embedding_model: !new:speechbrain.lobes.models.Xvector.Xvector\n")
    assert "ECAPA_TDNN" in refused("ecapa-voxceleb", folder)
    (folder / "hyperparams.yaml").write_text("embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN\n")
    copy(CATALOGUE["ecapa-voxceleb"], folder)
    assert look(CATALOGUE["ecapa-voxceleb"]).state == State.WHOLE
