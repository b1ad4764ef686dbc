"""Licences that somebody accepted for this host, in a file beside its models: a host has no database to ask."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from workers.models import store
from workers.models.catalogue import CATALOGUE, Model
from workers.models.errors import ModelError, Trouble, disk_errors

FILE = "licences.json"


def is_accepted(model: Model) -> bool:
    """Whether the model may be fetched here: it asks for nothing, or the licence that it comes with now was accepted.

    A licence that changed its name since then has to be accepted anew.
    """
    if not model.opt_in:
        return True
    entry = _read().get(model.name)
    return isinstance(entry, dict) and entry.get("licence") == model.licence


def check_accepted(model: Model) -> None:
    """Raises ModelError `licence` where the model's licence must be accepted first."""
    if not is_accepted(model):
        message = (
            f"{model.name} comes under the licence {model.licence} ({model.licence_url}), which has to be accepted"
            f" first: manage.py models pull {model.name} --accept-licence {model.name}"
        )
        raise ModelError(Trouble.LICENCE, message, model=model.name, licence=model.licence, url=model.licence_url)


def accept(model: Model, by: str) -> None:
    """Write down that somebody accepted it. `by`: where they did, not who they are. Raises ModelError."""
    if is_accepted(model):
        return
    with disk_errors(store.models_dir()), store.held("licences"):
        entries = {name: entry for name, entry in _read().items() if name in CATALOGUE}
        entries[model.name] = {
            "licence": model.licence,
            "url": model.licence_url,
            "accepted_at": time.time(),
            "by": by,
        }
        store.write_safely(_file(), json.dumps(entries, indent=1))


def _read() -> dict[str, Any]:
    """Nothing is accepted where the file is not there or cannot be read."""
    try:
        values = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _file() -> Path:
    return store.models_dir() / FILE
