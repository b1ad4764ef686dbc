from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meetviz_site.local.worker_threads import ROUNDS
from tests.sites import ROOT, environment_for


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Workers share state with their whole process, so they get one of their own."""
    home: Path = tmp_path_factory.mktemp("workers")
    done = subprocess.run(
        [sys.executable, "-m", "tests.meetviz_site.local.worker_threads"],
        cwd=ROOT,
        env={**os.environ, **environment_for(home, 8000), "DJANGO_SETTINGS_MODULE": "meetviz_site.settings"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_each_worker_takes_only_its_own_queue(outcome: dict) -> None:
    assert outcome["delivered"]
    assert outcome["speech_ran_in"] == ["worker-speech"]
    assert outcome["core_ran_in"] == ["worker-core"]


def test_a_stop_lets_the_task_in_hand_and_its_result_through(outcome: dict) -> None:
    assert outcome["drained"] == [True]
    assert outcome["core_tasks"] == ROUNDS + 1


def test_signals_logging_and_streams_stay_the_process_own(outcome: dict) -> None:
    assert outcome["process_untouched"]


def test_no_thread_stays_behind(outcome: dict) -> None:
    assert outcome["threads_left"] == []
