"""The whole job in one process: from spoken words to a picture that everyone sees."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.live.story import Story, StoryTests, tell
from tests.sites import Site


@pytest.fixture(scope="module")
def story(live_site: Site, speech: np.ndarray) -> Story:
    return asyncio.run(tell(live_site, live_site.new_meeting("The garden by the river"), speech))


class TestOneProcess(StoryTests):
    """Database, workers and web server of `make run`."""
