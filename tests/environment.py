"""Pytest plugin, loaded before Django: the tests have a home folder of their own and never touch `var/`.

With `DATABASE_URL` set they use that server (in a test database beside the named one), else an embedded one that does
not wait for the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

# Its pytest plugin would import it only when all is over; there, CPython 3.11 was seen to fail parsing it with
# "AST constructor recursion depth mismatch".
import hypothesis  # noqa: F401

_home = Path(tempfile.mkdtemp(prefix="meetviz-test-"))
# The embedded server runs as an ordinary user when the tests run as root: it must be able to enter.
_home.chmod(0o711)
os.environ["MEETVIZ_HOME"] = str(_home)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meetviz_site.settings")
for name in ("PORT", "HOST", "REDIS_URL", "MEETVIZ_PUBLIC_URL", "MEETVIZ_PAINTER", "ALLOWED_HOSTS", "SECRET_KEY"):
    os.environ.pop(name, None)
for name in ("MEETVIZ_PROFILE", "MEETVIZ_PAINT_DEVICE", "MEETVIZ_PAINT_DTYPE"):
    os.environ.pop(name, None)
for name in ("MEETVIZ_SPEECH", "MEETVIZ_VOICE", "MEETVIZ_MODELS_DIR", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)


def pytest_sessionstart() -> None:
    if not os.environ.get("DATABASE_URL"):
        from meetviz_site.local.postgres import ensure_postgres

        ensure_postgres(_home, durable=False)


def pytest_unconfigure() -> None:
    from meetviz_site.local.postgres import stop_all

    stop_all(hurry=True)
    shutil.rmtree(_home, ignore_errors=True)
