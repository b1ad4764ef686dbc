from __future__ import annotations

import ast
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.sites import ROOT, environment_for

SCRIPT = ROOT / "scripts" / "bootstrap.py"


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(*arguments: str, user: str = "", **values: str) -> str:
    """Run it where it cannot work: its one line."""
    home = Path(values.pop("MEETVIZ_HOME", "/nowhere"))
    as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(
        [shutil.which("python3", path="/usr/bin:/usr/local/bin") if user else sys.executable, str(SCRIPT), *arguments],
        env=environment_for(home, 8000, **values),
        capture_output=True,
        text=True,
        timeout=60,
        **as_user,
    )
    assert done.returncode == 1, done.stdout
    said = (done.stdout + done.stderr).strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_it_parses_on_pythons_far_too_old_to_run_meetviz() -> None:
    source = SCRIPT.read_bytes()
    ast.parse(source, feature_version=(3, 4))
    source.decode("ascii")  # Python 2 reads nothing else unless told


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.10"])
def test_an_old_python_is_named_with_what_is_needed(version: str) -> None:
    line = refused("--as-python", version, "run")
    assert line == f"Python 3.11 or newer is needed; this is Python {version}. Install python3.11 and try again."


def test_a_python_that_the_lock_does_not_know_is_named(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.Problem, match=r"3\.15 is too new"):
        bootstrap.check_python((3, 15))
    for minor in range(11, 15):
        bootstrap.check_python((3, minor))


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused("run", MEETVIZ_HOME=str(tmp_path / "file" / "home"))
    assert line.startswith(f"Cannot write {tmp_path}/file/home: ")
    assert "Set MEETVIZ_HOME to a folder you own." in line


def test_a_home_that_belongs_to_someone_else_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("python3", path="/usr/bin:/usr/local/bin") is None:
        pytest.skip("needs root, to be someone else, and a Python that everyone can start")
    line = refused("run", user="nobody", MEETVIZ_HOME="/etc/meetviz-home")
    assert line == "Cannot write /etc/meetviz-home: Permission denied. Set MEETVIZ_HOME to a folder you own."


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    line = refused("run", MEETVIZ_HOME=str(tmp_path), MEETVIZ_MIN_FREE_MB="999999999")
    assert line.startswith(f"The disk of {tmp_path} is full: ")


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("error: command 'gcc' failed: No such file or directory", "A C compiler is missing"),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", "A C compiler is missing"),
        ("CMake Error: CMAKE_C_COMPILER not set, after EnableLanguage", "A C compiler is missing"),
        ("xcrun: error: invalid active developer path", "A C compiler is missing"),
        ("cbits/x.c:1:10: fatal error: Python.h: No such file or directory", "Python's headers are missing"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("OSError: [Errno 13] Permission denied: '/opt/x/.venv/lib'", "Cannot write .venv/"),
        ("Failed to establish a new connection: [Errno -3] Temporary failure in name resolution", "cannot be reached"),
        ("The virtual environment was not created because ensurepip is not available", "no complete venv module"),
        ("some lines\nERROR: the one that matters\nmore", "Installing failed: ERROR: the one that matters"),
    ],
)
def test_a_failed_installation_is_explained_in_one_line(bootstrap: ModuleType, output: str, advice: str) -> None:
    line = bootstrap.diagnose(output, "Installing failed")
    assert advice in line
    assert "\n" not in line


def test_a_package_that_needs_a_compiler_says_so_where_there_is_none(bootstrap: ModuleType, tmp_path: Path) -> None:
    """The real message of the real build tools."""
    (tmp_path / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='built-here', version='1', ext_modules=[Extension('built_here', ['x.c'])])\n"
    )
    (tmp_path / "x.c").write_text("int x;\n")
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "CC": "gcc"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert bootstrap.diagnose(done.stdout + done.stderr, "Installing failed").startswith("A C compiler is missing.")


def test_make_finds_a_python_and_passes_everything_on() -> None:
    plan = subprocess.run(["make", "-n", "bench", "painting"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert plan.stdout.rstrip().splitlines()[-1].strip() != ""
    assert "scripts/bootstrap.py bench painting" in plan.stdout
    for target in ("run", "demo", "test", "lint", "clean"):
        plan = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"scripts/bootstrap.py {target}" in plan.stdout


def test_the_lock_pins_every_package_exactly() -> None:
    lines = [line.strip() for line in (ROOT / "requirements.lock").read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin and "+" not in pin.split(";")[0] for pin in pins)
    names = [pin.split("==")[0].lower() for pin in pins]
    assert len(names) == len(set(names))
    assert "torch==2.13.0" in pins
