"""What every test may ask for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sites import Site, local_site


@pytest.fixture(scope="session")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One local server for all tests that look at MeetViz from outside; each makes meetings of its own."""
    home = tmp_path_factory.mktemp("site")
    for folder in [home, *home.parents][:3]:
        folder.chmod(0o711)  # the embedded database may run as another user
    with local_site(home) as site:
        yield site


@pytest.fixture(scope="session")
def dialogue() -> Path:
    """The dialogue that the project ships."""
    return Path(__file__).resolve().parent.parent / "meetings" / "demo" / "dialogue.opus"


@pytest.fixture
def published(django_capture_on_commit_callbacks: Any) -> Any:
    """`with published(meeting) as events:` collects what the block tells everyone in the meeting (once it commits)."""
    from tests.listening import listening

    return functools.partial(listening, commit=functools.partial(django_capture_on_commit_callbacks, execute=True))
