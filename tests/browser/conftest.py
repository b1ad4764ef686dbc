"""A real Chromium with a microphone that plays a file. Without a Chromium these tests are left out, and say so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
]
ALLOW_MICROPHONE = "--use-fake-ui-for-media-stream"
WAIT_MS = 60_000


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next((path for path in map(shutil.which, NAMES) if path), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Last: Playwright's loop runs in this thread to the end of the session, and tests with a loop of their own cannot.
    items.sort(key=lambda item: Path(__file__).parent in item.path.parents)
    missing = find_chromium() is None
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if missing:
                reason = f"no Chromium here: install one of {', '.join(NAMES)}, or name it in CHROMIUM"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def playwright_driver() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def speech_wav(dialogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first half minute of the shipped dialogue, as the WAV that Chromium's fake microphone plays in a loop."""
    samples, rate = soundfile.read(dialogue, dtype="float32", always_2d=True)
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    soundfile.write(path, samples[: 30 * rate, 0], rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def silent_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("microphone") / "silence.wav"
    soundfile.write(path, [0.0] * 48_000, 48_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def launch(playwright_driver: Any) -> Iterator[Callable[..., Any]]:
    """`launch(wav)`: a Chromium whose microphone plays that file; `launch(None, allow=False)`: one that blocks it."""
    running: dict[tuple[str, bool], Any] = {}
    with ExitStack() as stack:

        def start(wav: Path | None, *, allow: bool = True) -> Any:
            key = (str(wav), allow)
            if key not in running:
                flags = [*FLAGS, ALLOW_MICROPHONE if allow else "--deny-permission-prompts"]
                if wav:
                    flags.append(f"--use-file-for-fake-audio-capture={wav}")
                running[key] = playwright_driver.chromium.launch(executable_path=find_chromium(), args=flags)
                stack.callback(running[key].close)
            return running[key]

        yield start


class Visitor:
    """A person at a browser, and what their browser complained about and put on the wire."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.audio: list[tuple[int, int]] = []
        self.loaded_bytes: dict[str, int] = {}
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.socket: Any = None
        self.page.on("websocket", self._watch)

    def _watch(self, socket: Any) -> None:
        self.socket = socket
        socket.on("framesent", self._sent)

    def _sent(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            self.sent.append(json.loads(payload))
        else:
            first = int.from_bytes(payload[8:16], "little")
            self.audio.append((first, first + (len(payload) - 16) // 2))

    def sent_types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    def wait_sent(self, kind: str) -> None:
        """Until the page has put such a message on the wire; what Playwright tells of frames comes after the fact."""
        if kind not in self.sent_types():
            self.socket.wait_for_event("framesent", lambda _: kind in self.sent_types(), timeout=WAIT_MS)

    def accept_invite(self, meeting: dict[str, str], *, name: str, kind: str = "join_token") -> None:
        """From the invite link to the card before the room."""
        self.page.goto(f"{meeting['url']}#invite={meeting[kind]}")
        self.errors.clear()  # Chromium counts the door's 403 as an error of the page
        self.page.fill("input[name=name]", name)
        self.page.click("#knock button[type=submit]")
        self.page.wait_for_selector("#door:not([hidden])")

    def speak(self, *, voice: bool = True) -> None:
        """From the card into the room, with the microphone and the consents it needs."""
        self.page.click("#try-microphone")
        self.page.wait_for_selector("#microphone-live:not([hidden])")
        self.page.check("#consent-transcribe")
        if voice:
            self.page.check("#consent-voice")
        self.page.click("#door-join")
        self.page.wait_for_selector("#room:not([hidden])")

    def watch(self) -> None:
        join = self.page.locator("#door-watch")
        (join if join.is_visible() else self.page.locator("#door-join")).click()
        self.page.wait_for_selector("#room:not([hidden])")

    def wait_text(self, selector: str, part: str) -> None:
        """Until the first such element says this; what the page draws follows its news by a moment."""
        self.page.wait_for_function(
            "([selector, part]) => document.querySelector(selector)?.innerText.includes(part)", arg=[selector, part]
        )

    def wait(self, expression: str, argument: Any = None) -> None:
        self.page.wait_for_function(expression, arg=argument)


@pytest.fixture
def visit(launch: Callable[..., Any], speech_wav: Path) -> Iterator[Callable[..., Visitor]]:
    """`visit()`: a new person with a microphone that speaks; other microphones and any context option by name."""
    with ExitStack() as stack:

        def come(wav: Path | None = speech_wav, *, allow: bool = True, **options: Any) -> Visitor:
            browser = launch(wav, allow=allow)
            settings = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **options}
            context = browser.new_context(**settings)
            stack.callback(context.close)
            return Visitor(context)

        yield come
