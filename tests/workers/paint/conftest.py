"""Tiny random models on disk, saved once for all tests that paint with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sd`, `sd2` and `xl`, bare pipelines, and `extras/sd` and `extras/xl`, what fits into them."""
    from tests.workers import tiny_models as tiny

    root, scratch = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("scratch")
    tiny.save_tiny_pipeline(root / "sd", scratch)
    tiny.save_tiny_xl_pipeline(root / "xl", scratch)
    tiny.save_tiny_pipeline(root / "sd2", scratch, unet={"use_linear_projection": True})
    for name in ("sd", "xl"):
        extras = root / "extras" / name
        tiny.save_tiny_vae(extras / "tiny_vae")
        tiny.save_tiny_lora(extras / "lora", root / name)
        tiny.save_tiny_ip_adapter(extras / "ip_adapter", root / name)
        for seed, use in enumerate(("depth", "canny", "scribble")):
            tiny.save_tiny_controlnet(extras / "controlnet" / use, root / name, seed)
        tiny.save_tiny_depth_estimator(extras / "depth_estimator")
    return root


@pytest.fixture(scope="session")
def whole(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sd` and `xl`, each with all that fits into it but a LoRA."""
    root = tmp_path_factory.mktemp("whole")
    for name in ("sd", "xl"):
        shutil.copytree(models / name, root / name)
        shutil.copytree(models / "extras" / name, root / name / "meetviz")
        shutil.rmtree(root / name / "meetviz" / "lora")
    return root


@pytest.fixture
def own_pipeline(models: Path, tmp_path: Path) -> Path:
    """A copy of the bare Stable Diffusion pipeline that a test may break or add to."""
    return Path(shutil.copytree(models / "sd", tmp_path / "tiny-sd"))
