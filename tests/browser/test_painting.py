"""From a press to the picture on a real diffusers pipeline: small, random, whole. Seen, waited for, and stopped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.painting_sites import MODEL, painting_site
from tests.sites import Site

Visit = Callable[..., Any]

SHOWN = ".stage__pictures img.is-shown:not(.is-preview)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with painting_site(tmp_path_factory) as site:
        yield site


def come_in(site: Site, visit: Visit, meeting: dict[str, str], name: str = "Olga", **options: Any) -> Any:
    """Someone who watches, with everything that the server tells them in `told`."""
    guest = visit(**options)
    guest.told = []
    guest.page.on("websocket", lambda socket: socket.on("framereceived", lambda text: guest.told.append(text)))
    guest.accept_invite(meeting, name=name)
    guest.watch()
    guest.wait("() => !document.querySelector('#paint-now').disabled")
    return guest


def wish(guest: Any, hint: str) -> None:
    guest.page.click("#hint-button")
    guest.page.fill("#hint-text", hint)
    guest.page.press("#hint-text", "Enter")


def told(guest: Any, kind: str) -> list[dict[str, Any]]:
    messages = (json.loads(text) for text in guest.told if isinstance(text, str))
    return [message for message in messages if message["type"] == kind]


def picture(guest: Any, number: int) -> None:
    """Until the picture of this number is on the wall."""
    guest.wait("n => document.querySelectorAll('#filmstrip button').length === n", number)
    guest.wait("s => document.querySelector(s)?.complete && document.querySelector(s).naturalWidth > 0", SHOWN)


@pytest.fixture
def held(site: Site) -> Iterator[Callable[[bool], None]]:
    """`held(True)` stops the painter's process in the middle of whatever it does, `held(False)` lets it go on."""
    stopped: list[int] = []

    def hold(on: bool) -> None:
        if on:
            stopped.extend(painters_of(site))
            assert stopped, "the painter has no process of its own"
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)
        if not on:
            stopped.clear()

    yield hold
    for pid in stopped:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)


def painters_of(site: Site) -> list[int]:
    """The processes in which the painter works."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == site.processes[0].pid and "DiffusersPainter" in command:
                found.append(int(entry.name))
    return found


def test_a_press_becomes_a_picture_of_the_real_painter(site: Site, visit: Visit) -> None:
    guest = come_in(site, visit, site.new_meeting())
    wish(guest, "a lighthouse on a rock")
    picture(guest, 1)
    (ready,) = told(guest, "frame.ready")
    assert (ready["engine"]["name"], ready["engine"]["demo"]) == ("diffusers", False)
    steps = told(guest, "frame.progress")
    assert [step["step"] for step in steps] == sorted({step["step"] for step in steps}) and steps
    assert steps[-1]["step"] <= steps[-1]["steps"]
    assert any(step.get("preview", "").startswith("data:image/jpeg;base64,") for step in steps)
    width = guest.page.evaluate("s => document.querySelector(s).naturalWidth", SHOWN)
    assert width == ready["width"] > 0
    guest.wait_text("#why-text", "lighthouse")
    guest.page.click("#details-button")
    guest.wait_text("#details-text", "diffusers")
    guest.wait_text("#details-text", MODEL)
    guest.wait_text("#demo-text", "pocketsphinx")
    assert "poster" not in guest.page.inner_text("#demo-text")
    assert guest.page.is_hidden("#making")
    guest.wait_sent("frame.shown")
    assert guest.errors == []


def test_a_picture_on_its_way_is_seen_by_all_and_stopped_by_who_asked(
    site: Site, visit: Visit, held: Callable[[bool], None]
) -> None:
    meeting = site.new_meeting()
    asker, other = come_in(site, visit, meeting), come_in(site, visit, meeting, "Robert")
    wish(asker, "a lighthouse on a rock")
    picture(asker, 1)
    held(True)
    wish(asker, "a bicycle")
    for someone in (asker, other):
        someone.wait_text("#making", "painting")
    late = come_in(site, visit, meeting, "Max", locale="ru-RU", viewport={"width": 390, "height": 844})
    late.page.wait_for_selector("#making:not([hidden])")
    for someone in (other, late):
        assert someone.page.is_hidden("#cancel-painting"), "somebody else's picture can be stopped"
    asker.page.focus("#cancel-painting")
    asker.page.keyboard.press("Enter")
    for someone in (asker, other, late):
        someone.page.wait_for_selector("#making", state="hidden")
    asker.wait_text("#toasts", "cancelled")
    assert asker.page.evaluate("() => document.activeElement.id") == "main", "the focus is lost with the button"
    held(False)
    wish(asker, "a castle on a hill")
    for someone in (asker, other, late):
        picture(someone, 2)
    assert "bicycle" not in [ready["prompt"] for ready in told(asker, "frame.ready")]
    assert asker.errors == [] and other.errors == []


def test_without_motion_no_preview_moves_behind_the_picture(site: Site, visit: Visit) -> None:
    calm = come_in(site, visit, site.new_meeting(), reduced_motion="reduce")
    calm.page.evaluate(
        """() => {
            window.previews = 0;
            new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) => {
                if (node.classList?.contains('is-preview')) window.previews += 1;
            }))).observe(document.querySelector('.stage__pictures'), { childList: true });
        }"""
    )
    wish(calm, "a lighthouse on a rock")
    picture(calm, 1)
    assert told(calm, "frame.progress") and calm.page.evaluate("() => window.previews") == 0
