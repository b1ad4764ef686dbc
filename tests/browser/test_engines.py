"""Demo engines give way to real ones at a press in the room: fetched from a hub on this machine, without a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sites import Site, local_site
from tests.workers.models.hub_server import LocalHub, local_hub
from tests.workers.tiny_whisper import save_tiny_whisper
from workers.models.catalogue import CATALOGUE

Visit = Callable[..., Any]

MODEL = CATALOGUE["whisper-base"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub() as hub:
        hub.add(MODEL.repository, save_tiny_whisper(tmp_path / "tiny", tmp_path / "scratch"))
        yield hub


@pytest.fixture
def site(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that gets its models from that hub; only words are to become real, and the smallest model will do."""
    home = tmp_path_factory.mktemp("engines")
    for folder in [home, *home.parents][:3]:
        folder.chmod(0o711)
    settings = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1,localhost", "MEETVIZ_VOICE": "resemblyzer"}
    settings["MEETVIZ_PAINTER"] = "poster"
    with local_site(home, MEETVIZ_SPEECH=MODEL.name, **settings) as site:
        yield site


def test_the_owner_fetches_the_real_engine_and_a_guest_is_told_whom_to_ask(
    site: Site, hub: LocalHub, visit: Visit
) -> None:
    meeting = site.new_meeting()
    owner, guest = visit(), visit()
    owner.page.goto(site.owner_link())
    owner.page.goto(meeting["url"])
    owner.watch()
    owner.page.click("#demo-pill")
    hub.status = 404
    owner.page.get_by_role("button", name="Fetch the real engines (≈ 148 MB)").click()
    owner.page.wait_for_selector(".fetch__problem")
    owner.wait_text(".fetch__problem", "The model server refused the download.")
    owner.wait_text("#demo-fetch", f"manage.py models pull {MODEL.name}")

    guest.accept_invite(meeting, name="Olga")
    guest.watch()
    guest.page.click("#demo-pill")
    guest.page.wait_for_selector("#demo-fetch p")
    guest.wait_text("#demo-fetch", "Ask the owner")
    assert guest.page.locator("#demo-fetch button").count() == 0

    hub.status = 0
    hub.hold_at["model.bin"] = 64 * 1024
    owner.page.get_by_role("button", name="Try again").click()
    for someone in (owner, guest):
        someone.wait("() => document.querySelector('.fetch__bar')?.value > 0")
    guest.wait_text("#demo-pill", "%")
    hub.go_on.set()
    for someone in (owner, guest):
        someone.wait("() => !document.querySelector('#demo-text').textContent.includes('pocketsphinx')")
    owner.wait_text("#demo-text", "resemblyzer")
    owner.wait_sent("models.fetch")
    assert "models.fetch" not in guest.sent_types()
    assert owner.errors == [] and guest.errors == []
