"""Models that are whole as far as the store can see, without weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from workers.models.catalogue import CATALOGUE
from workers.models.store import MANIFEST, Manifest, StoredFile


def install_paint_model(models: Path, name: str, more: dict[str, str] | None = None) -> Path:
    """Put a model of the catalogue into a models folder; it comes by a rename, as real ones do. `more`: other files."""
    draft, folder = models / f".{name}", models / name
    draft.mkdir(parents=True)
    files = [pattern.replace("*", "x") for pattern in CATALOGUE[name].needed]
    for file in files:
        (draft / file).parent.mkdir(parents=True, exist_ok=True)
        (draft / file).write_text("x")
    for file, text in (more or {}).items():
        (draft / file).write_text(text)
    Manifest(name, "here", "", 0.0, [StoredFile(file, 1, "0" * 64) for file in files]).write(draft / MANIFEST)
    shutil.rmtree(folder, ignore_errors=True)
    return draft.rename(folder)
