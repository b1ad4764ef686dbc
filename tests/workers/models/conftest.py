"""A folder for models and a hub on this machine, for every test here."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.models.hub_server import LocalHub, local_hub
from workers.models.catalogue import CATALOGUE, Model


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MEETVIZ_MODELS_DIR; it does not exist yet."""
    folder = tmp_path / "models"
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(folder))
    return folder


@pytest.fixture
def hub(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with local_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def base(hub: LocalHub) -> Model:
    """whisper-base, as far as a download can see: a megabyte of weights, three small files, and some that it leaves."""
    hub.add(CATALOGUE["whisper-base"].repository, whisper_files())
    return CATALOGUE["whisper-base"]


def whisper_files() -> dict[str, bytes]:
    return {
        "model.bin": random.Random(7).randbytes(1_000_000),
        "config.json": b'{"alignment_heads": [[0, 0]]}',
        "tokenizer.json": random.Random(8).randbytes(50_000),
        "vocabulary.txt": b"<|endoftext|>\n",
        "README.md": b"# What a download leaves where it is\n",
        ".gitattributes": b"*.bin filter=lfs\n",
        "../../escape.json": b"{}",
    }
