"""A folder for models and a hub on this machine, for every test here."""

from __future__ import annotations

import hashlib
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
def painting(hub: LocalHub) -> Model:
    """sd15-lcm with all its extras, as far as a download can see: eight repositories with folders."""
    add_paint_model(hub, CATALOGUE["sd15-lcm"])
    return CATALOGUE["sd15-lcm"]


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


def add_paint_model(hub: LocalHub, model: Model) -> dict[str, dict[str, bytes]]:
    """A paint model's repositories with their extras' on the hub, by name; with what a download leaves where it is."""
    repositories: dict[str, dict[str, bytes]] = {}
    for source in model.sources_with(extra.name for extra in model.extras):
        files = repositories.setdefault(source.repository, dict(_LEFT))
        for pattern in source.needed:
            name = f"{source.taken_from}/{pattern}".strip("/").replace("*", "vocab")
            size = 60_000 if name.endswith(".safetensors") else 100
            files[name] = random.Random(f"{source.repository}/{name}").randbytes(size)
    for repository, files in repositories.items():
        hub.add(repository, files).commit = hashlib.sha1(repository.encode()).hexdigest()
    return repositories


_LEFT = {
    "README.md": b"# What a download leaves where it is",
    "unet/diffusion_pytorch_model.bin": b"\x80\x04pickle",
    "unet/diffusion_pytorch_model.fp16.bin": b"\x80\x04pickle",
    "v1-5-pruned.safetensors": b"one file for other programs",
    "../escape.json": b"{}",
    "unet/../../escape.json": b"{}",
    "/tmp/escape.json": b"{}",
    "tokenizer/.hidden.json": b"{}",
}
