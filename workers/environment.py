"""The environment of a model host, read by the web side's rule: `NAME`, or the file that `NAME_FILE` names.

(`meetviz_site.env` is for Django hosts; nothing here may need Django.)
"""

from __future__ import annotations

import os
from pathlib import Path


class BadSetting(ValueError):
    """A setting that cannot be read; the message says which and why."""


def setting(name: str, default: str = "") -> str:
    """The setting as text; an empty value counts as not set. Raises BadSetting."""
    file = os.environ.get(f"{name}_FILE", "")
    if file:
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE names {file}, which cannot be read: {error.strerror}") from error
    return os.environ.get(name, "") or default
