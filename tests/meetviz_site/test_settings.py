"""Every setting is documented, every documented setting exists, and a bad value stops the start with one line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from meetviz_site.settings import _database_from_url
from tests.sites import ROOT, environment_for

ROOMS = ("meetviz_site", "meetings", "generation", "speakers", "workers", "scripts", "tests/browser")
READERS = {"env", "envbool", "envint", "envlist", "envchoice", "setting", "getenv"}
# The machine's own, not settings of MeetViz.
OTHERS = {"PATH", "CC", "DJANGO_SETTINGS_MODULE", "OMP_NUM_THREADS"}


def names_read() -> Iterator[tuple[str, str]]:
    """(variable, file) for every read of the environment with a name written out."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name: ast.expr | None = None
                if isinstance(node, ast.Call) and node.args:
                    called = ast.unparse(node.func)
                    if called in ("os.environ.get", "environ.get", "os.getenv") or called in READERS:
                        name = node.args[0]
                elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("os.environ", "environ"):
                    name = node.slice
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, str(path.relative_to(ROOT))


def names_documented() -> set[str]:
    """What stands in the first column of the tables of docs/settings.md."""
    rows = [line for line in (ROOT / "docs" / "settings.md").read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])}


def test_the_parser_of_this_test_finds_what_is_there() -> None:
    read = {name for name, _path in names_read()}
    assert {"DATABASE_URL", "PORT", "MEETVIZ_PAINTER", "MEETVIZ_MIN_FREE_MB", "ALLOWED_HOSTS"} <= read
    assert {"DATABASE_URL", "MEETVIZ_PICTURE_WIDTH", "MEETVIZ_PICTURE_HEIGHT"} <= names_documented()


def test_every_setting_that_is_read_is_documented() -> None:
    documented = names_documented()
    missing = {name: path for name, path in names_read() if name not in documented | OTHERS}
    assert missing == {}


def test_every_setting_that_is_documented_is_read() -> None:
    assert names_documented() - {name for name, _path in names_read()} == set()


def start_with(home: Path, code: str = "", **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); " + code],
        cwd=ROOT,
        env={**environment_for(home, 8000), "DJANGO_SETTINGS_MODULE": "meetviz_site.settings", **values},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"PORT": "http"}, "PORT must be a whole number, not 'http'"),
        ({"MEETVIZ_INTERVAL_S": "5"}, "MEETVIZ_INTERVAL_S must be between 10 and 20, not 5"),
        ({"DATABASE_URL": "mysql://db/meetviz"}, "DATABASE_URL must be a postgres:// address"),
        ({"SECRET_KEY_FILE": "/nowhere/key"}, "SECRET_KEY_FILE names /nowhere/key, which cannot be read"),
    ],
)
def test_a_bad_value_stops_the_start_and_says_what_was_expected(
    tmp_path: Path, values: dict[str, str], line: str
) -> None:
    done = start_with(tmp_path, **values)
    assert done.returncode != 0
    assert line in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["meetviz_site.asgi", "workers.tasks", "workers.app", "meetviz_site.pipeline"])
def test_web_and_task_modules_load_no_engine(tmp_path: Path, name: str) -> None:
    heavy = [
        "torch",
        "diffusers",
        "transformers",
        "pocketsphinx",
        "faster_whisper",
        "resemblyzer",
        "librosa",
    ]
    code = f"import sys, {name}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", ("import django; django.setup(); " if "site" in name else "") + code],
        cwd=ROOT,
        env={**environment_for(tmp_path, 8000), "DJANGO_SETTINGS_MODULE": "meetviz_site.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_model_host_needs_no_django(tmp_path: Path) -> None:
    # `None` makes every import of it fail, as where it is not installed.
    code = "import sys; sys.modules['django'] = None; import workers.app, workers.tasks; print('fine')"
    environment = environment_for(tmp_path, 8000)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_two_sites_on_one_redis_do_not_hear_each_other(tmp_path: Path) -> None:
    """Published messages pay no heed to Redis's database numbers."""
    code = "from django.conf import settings; print(settings.CHANNEL_LAYERS['default']['CONFIG']['prefix'])"
    here, again, there = (
        start_with(tmp_path, code, REDIS_URL="redis://localhost/0", SECRET_KEY=key).stdout for key in "aab"
    )
    assert here == again != there


# Database addresses


def test_a_database_address_with_everything_in_it() -> None:
    database = _database_from_url(
        "postgresql://us%40er:p%2Fw%3Ard@db.example:6543/my%20db?sslmode=require&connect_timeout=3"
    )
    assert database == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "my db",
        "USER": "us@er",
        "PASSWORD": "p/w:rd",
        "HOST": "db.example",
        "PORT": "6543",
        "OPTIONS": {"sslmode": "require", "connect_timeout": "3"},
    }


def test_a_database_address_over_a_socket_folder() -> None:
    database = _database_from_url("postgres://postgres@/meetviz?host=%2Fvar%2Frun%2Fpg")
    assert (database["HOST"], database["NAME"], database["PORT"]) == ("/var/run/pg", "meetviz", "")
    assert database["OPTIONS"] == {}


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite:///x.db", "just text"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="pgvector"):
        _database_from_url(url)
