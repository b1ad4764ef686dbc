"""`manage.py` on a home in which nothing was ever run: what to do instead of a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

MANAGE = Path(__file__).parents[2] / "manage.py"


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    own = {"MEETVIZ_HOME": str(tmp_path_factory.mktemp("home")), "DATABASE_URL": "", "REDIS_URL": ""}
    return {**os.environ, **own}


def test_a_database_without_tables_is_said_plainly(empty_home: dict[str, str]) -> None:
    command = [sys.executable, MANAGE, "new_meeting", "A garden"]
    answer = subprocess.run(command, env=empty_home, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode != 0
    assert "make run" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.django_db
def test_a_meeting_of_a_user_who_is_not_there_is_refused() -> None:
    with pytest.raises(CommandError, match="nobody-here"):
        call_command("new_meeting", "A garden", owner="nobody-here")
