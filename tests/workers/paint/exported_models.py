"""Two tiny models, exported once for a test run: making one takes as long as all the tests of it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from workers.messages import PaintRequest, Scene

SIZE = (128, 64)


def request(**values: object) -> PaintRequest:
    """Nobody asked for anything but a prompt; there is all the time in the world."""
    settings: dict = {
        "id": "frame",
        "meeting": 1,
        "prompt": "a wooden bridge",
        "negative": "",
        "scene": Scene(title="a wooden bridge"),
        "seed": 7,
        "deadline_s": 1000.0,
    }
    return PaintRequest(**(settings | values))


def exported_sd(factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Stable Diffusion 1 with a LoRA, a tiny autoencoder and a checker that lets all pass, exported by the command.

    The model's folder, and what the command said.
    """
    from django.core.management import call_command

    from tests.workers.tiny_models import save_tiny_lora, save_tiny_pipeline, save_tiny_vae, tiny_safety_checker

    folder = factory.getbasetemp() / "exported" / "tiny-sd"
    said = folder.parent / "said.txt"
    if not said.is_file():
        save_tiny_pipeline(folder, folder.parent / "scratch", safety_checker=tiny_safety_checker(strict=False))
        save_tiny_vae(folder / "meetviz" / "tiny_vae")
        save_tiny_lora(folder / "meetviz" / "lora", folder)
        out = io.StringIO()
        call_command("models", "export", str(folder), "--size", f"{SIZE[0]}x{SIZE[1]}", stdout=out, stderr=out)
        said.write_text(out.getvalue(), encoding="utf-8")
    return folder, said.read_text(encoding="utf-8")


def exported_xl(factory: pytest.TempPathFactory) -> Path:
    """SDXL with its own autoencoder and nothing beside it."""
    from tests.workers.tiny_models import save_tiny_xl_pipeline
    from workers.engines.paint.exported.export import export

    folder = factory.getbasetemp() / "exported" / "tiny-xl"
    if not (folder / "onnx").is_dir():
        save_tiny_xl_pipeline(folder, folder.parent / "scratch-xl")
        export(folder, width_px=SIZE[0], height_px=SIZE[1])
    return folder


def copy_of(folder: Path, place: Path) -> Path:
    """One that a test may break, without what was compiled of it."""
    return Path(shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns("cache")))
