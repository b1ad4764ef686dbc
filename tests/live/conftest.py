"""What the tests of whole sites share."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from meetviz_site.live.audio_file import read_audio
from tests.sites import Site
from workers.messages import SAMPLE_RATE_HZ

BATCH = 24
_ready: list[dict[str, str]] = []


@pytest.fixture
def meeting(live_site: Site) -> dict[str, str]:
    """A meeting of its own for each test: slug, ws_url, join_token, viewer_token, api_token."""
    return take_meeting(live_site)


@pytest.fixture
def other_meeting(live_site: Site) -> dict[str, str]:
    return take_meeting(live_site)


def take_meeting(live_site: Site) -> dict[str, str]:
    if not _ready:
        _ready.extend(live_site.new_meetings(BATCH))
    return _ready.pop()


@pytest.fixture
def still_well(live_site: Site) -> Iterator[None]:
    """Whatever a test sent, the server is the same process afterwards and answers."""
    yield
    with urllib.request.urlopen(f"{live_site.url}/healthz", timeout=20) as answer:
        assert answer.status == 200
    assert live_site.processes[0].is_running


@pytest.fixture(scope="session")
def speech(dialogue: Path) -> np.ndarray:
    """The shipped dialogue; int16, 16 kHz."""
    return read_audio(dialogue)


@pytest.fixture(scope="session")
def sentence(speech: np.ndarray) -> np.ndarray:
    """The words "Good morning everyone. Today we plan the new garden by the river." and a second of silence."""
    line = speech[round(0.3 * SAMPLE_RATE_HZ) : round(4.2 * SAMPLE_RATE_HZ)]
    return np.concatenate([line, np.zeros(SAMPLE_RATE_HZ, np.int16)])
