"""Real engines in a site that runs: a press in the room fetches them, and they are at work without a restart."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.live.talking import Talk, socket_to, talk_in
from tests.sites import ROOT, Site, local_site
from tests.workers.models.hub_server import LocalHub, local_hub
from tests.workers.tiny_whisper import save_scripted_whisper
from workers.models.catalogue import CATALOGUE, Role

WORDS = ["Завтра", "мы", "посадим", "сад"]
FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    """Every Whisper of the catalogue, in the shape of a small one that hears four Russian words in everything."""
    folder = tmp_path_factory.mktemp("whisper")
    whisper = save_scripted_whisper(folder / "model", folder / "scratch", WORDS)
    with local_hub() as hub:
        for model in CATALOGUE.values():
            if model.role == Role.SPEECH:
                hub.add(model.repository, whisper)
        yield hub


@pytest.fixture(scope="module")
def site(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    for folder in [home, *home.parents][:3]:
        folder.chmod(0o711)  # the embedded database may run as another user
    environment = {"HF_ENDPOINT": hub.url, "MEETVIZ_VOICE": "resemblyzer", "MEETVIZ_PAINTER": "poster"}
    with local_site(home, NO_PROXY="127.0.0.1,localhost", **environment) as site:
        yield site


@contextlib.asynccontextmanager
async def owner_in(site: Site, meeting: dict[str, str]) -> Any:
    cookie = {"Cookie": site.session_of("owner")}
    async with socket_to(meeting["ws_url"], origin=site.url, additional_headers=cookie) as talk:
        yield talk


async def status_where(talk: Talk, condition: Any) -> dict[str, Any]:
    if (latest := [m for m in talk.seen if m["type"] == "status"]) and condition(latest[-1]):
        return latest[-1]
    return await talk.next("status", where=condition)


def models_command(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "models", *arguments]
    return subprocess.run(command, cwd=ROOT, env=site.environment, capture_output=True, text=True, timeout=60)


async def say_something(talk: Talk, sentence: np.ndarray) -> dict[str, Any]:
    opened = await talk.open_stream(language="auto")
    await talk.audio(opened, sentence)
    caption = await talk.next("caption.final", "caption.gap")
    await talk.close_stream(opened)
    return caption


async def test_real_engines_come_by_a_press_are_mended_and_never_leave_the_room_silent(
    site: Site, hub: LocalHub, sentence: np.ndarray
) -> None:
    meeting = site.new_meeting(language="auto")
    server = site.processes[0].pid
    async with owner_in(site, meeting) as talk, talk_in(meeting, "Max") as guest:
        # Who may ask for it, and what there is to ask for.
        welcome = await talk.hello(name="Anna")
        assert welcome["you"]["can"]["fetch_models"] is True
        assert next(m for m in guest.seen if m["type"] == "welcome")["you"]["can"]["fetch_models"] is False
        status = await status_where(talk, lambda m: m["models"]["offers"])
        (offer,) = status["models"]["offers"]
        assert offer["role"] == "speech" and offer["size_bytes"] > 10_000_000
        assert status["models"]["fetching"] is None and status["engines"]["speech"]["demo"] is True
        await guest.say("models.fetch")
        assert await guest.error() == "not_allowed"
        await talk.say("models.fetch", models=["whisper-huge"])
        assert await talk.error() == "bad_value"

        # A press that fails says why, and can be pressed again.
        hub.status = 403
        await talk.say("models.fetch")
        status = await status_where(talk, lambda m: (m["models"]["fetching"] or {}).get("state") == "failed")
        assert status["models"]["fetching"]["error"] == "refused" and "notice" not in status
        hub.status = 0

        # The press: how far it is, done, and another engine at work in the same process.
        hub.hold_at["model.bin"] = 5_000_000
        await talk.say("models.fetch")
        status = await status_where(talk, lambda m: (m["models"]["fetching"] or {}).get("done_bytes", 0) > 1_000_000)
        told = status["models"]["fetching"]
        whole = sum(len(hub.repositories[CATALOGUE[offer["model"]].repository].files[name]) for name in FILES)
        assert (told["model"], told["total_bytes"], told["state"]) == (offer["model"], whole, "fetching")
        assert (await say_something(talk, sentence))["language"] == "en"
        hub.go_on.set()
        status = await status_where(talk, lambda m: not m["engines"]["speech"]["demo"])
        assert (status["engines"]["speech"]["name"], status["engines"]["speech"]["model"]) == (
            "faster-whisper", offer["model"],
        )  # fmt: skip
        status = await status_where(talk, lambda m: m["models"]["fetching"]["state"] == "done")
        assert status["models"]["offers"] == []
        caption = await say_something(talk, sentence)
        assert (caption["language"], caption["text"].split()) == ("ru", WORDS)

        # Damage is found, the room is told and goes on with what there is; mending brings the model back.
        folder = Path(site.environment["MEETVIZ_HOME"]) / "models" / offer["model"]
        content = bytearray((folder / "model.bin").read_bytes())
        content[7_000_000] ^= 1
        (folder / "model.bin").write_bytes(content)
        checked = models_command(site, "verify")
        assert checked.returncode == 1 and offer["model"] in checked.stderr
        status = await status_where(talk, lambda m: m.get("notice", {}).get("code") == "model_failed")
        assert offer["model"] in status["notice"]["message"]
        status = await status_where(talk, lambda m: m["engines"]["speech"]["demo"])
        assert (await say_something(talk, sentence))["language"] == "en"
        assert models_command(site, "pull", offer["model"]).returncode == 0
        status = await status_where(talk, lambda m: not m["engines"]["speech"]["demo"] and "notice" not in m)
    assert site.processes[0].is_running and site.processes[0].pid == server
