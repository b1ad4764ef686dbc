"""A one-command server with a real painter: a small random diffusers pipeline, a tiny autoencoder beside its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.sites import Site, local_site
from tests.workers.tiny_models import save_tiny_pipeline, save_tiny_vae

MODEL = "tiny-painter"


@contextlib.contextmanager
def painting_site(folders: pytest.TempPathFactory) -> Iterator[Site]:
    """The server, once its painter can paint."""
    folder = save_tiny_pipeline(folders.mktemp("models") / MODEL, folders.mktemp("scratch"))
    save_tiny_vae(folder / "meetviz" / "tiny_vae")
    home = folders.mktemp("painting")
    for path in [home, *home.parents][:3]:
        path.chmod(0o711)
    with local_site(home, MEETVIZ_PAINTER=str(folder), MEETVIZ_PAINT_DEVICE="cpu") as site:
        site.wait_for_painter()
        yield site
