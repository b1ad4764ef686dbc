"""The demo meeting: three voices plan a garden and a festival, and the room paints along.

The dialogue goes through the real socket by the same client as `manage.py talk`, so what the demo shows is what the
server does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from django.db import connections
from django.utils.translation import gettext as _

from meetings.access import TokenKind, owner_create, token_for
from meetings.audio import SAMPLE_RATE_HZ
from meetings.models import Meeting
from meetings.services import meeting_create
from meetviz_site.live.audio_file import read_audio
from meetviz_site.live.client import Consent, LiveClient, LiveError, socket_url

logger = logging.getLogger("meetviz.demo")

SCRIPT = Path(__file__).resolve().parents[2] / "meetings" / "demo" / "dialogue.json"
DIALOGUE = Path(__file__).resolve().parents[2] / "meetings" / "demo" / "dialogue.opus"
TITLE = "A garden by the river · Сад у реки"
"""In both languages: everybody who looks at the demo should know what it is, whatever their page speaks."""
HOST = "Anna"
"""Whose microphone the others share: the first voice of the dialogue gets this name, the others are found by voice."""
SERVER_STARTS_WITHIN_S = 60.0
SERVER_GONE_S = 10.0
BETWEEN_PLAYS_S = 20.0
LOOK_FOR_STOP_S = 0.2


def demo_meeting() -> Meeting:
    """The demo meeting of the owner, made at the first call. English: that is what the embedded recogniser knows."""
    owner = owner_create()
    found = Meeting.objects.filter(owner=owner, title=TITLE, ended_at=None).order_by("pk").first()
    return found or meeting_create(owner=owner, title=TITLE, language="en")


def play(
    base_url: str,
    *,
    loop: bool = False,
    socket_base: str = "",
    speed: float = 1.0,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Play the dialogue into the demo meeting; returns when it is over, `stop` is set, or the server has gone.

    `base_url`: where people reach the server; it makes the page's address, which is said. `socket_base`: where this
    process reaches it, if that is somewhere else. `loop`: begin again after a pause, until `stop`. Blocks: give it a
    thread. Raises AudioFileError when the dialogue cannot be read, LiveError when the server refuses it.
    """
    samples = read_audio(DIALOGUE)
    try:
        meeting = demo_meeting()
        token = token_for(meeting, TokenKind.JOIN)
    finally:
        connections.close_all()  # this thread needs the database no longer
    say(_("Demo meeting: %(url)s") % {"url": base_url.rstrip("/") + meeting.get_absolute_url()})
    client = LiveClient(
        socket_url(socket_base or base_url, meeting.slug),
        token=token,
        name=HOST,
        # The voices are synthetic: nobody's consent is needed.
        consent=Consent(transcribe=True, voice_id=True),
        give_up_s=SERVER_GONE_S,
    )
    try:
        asyncio.run(_until_stopped(_speak(client, samples.tobytes(), speed, loop), stop or threading.Event()))
    except LiveError as error:
        if error.code not in ("unreachable", "restarting", "closed", "meeting_ended"):
            raise
        logger.info("the demo ended: %s", error.code)


async def _speak(client: LiveClient, pcm: bytes, speed: float, loop: bool) -> None:
    await client.connect(wait_s=SERVER_STARTS_WITHIN_S)
    try:
        while True:
            stream = await client.open_stream(language="en", label="demo")
            naming = asyncio.create_task(_name_guests(client, stream.id))
            await stream.play(pcm, speed=speed)
            await stream.close()
            naming.cancel()
            await asyncio.wait([naming])
            if not loop:
                return
            await asyncio.sleep(BETWEEN_PLAYS_S)
    finally:
        await client.aclose()


async def _name_guests(client: LiveClient, stream: str) -> None:
    """Say who the guests are, as somebody in the room would: each by the line of the script that they just spoke."""
    lines = json.loads(SCRIPT.read_text())["lines"]
    named: set[str] = set()
    async for event in client.events():
        speaker = event.get("speaker") or {}
        if event.type != "caption.final" or event.get("stream") != stream or speaker.get("state") != "guest":
            continue
        middle_s = (event["first_sample"] + event["last_sample"]) / 2 / SAMPLE_RATE_HZ
        name = next((line["speaker"] for line in lines if line["start_s"] <= middle_s <= line["end_s"]), "")
        if name and name not in named:
            named.add(name)
            await client.send("caption.assign", utterance=event["id"], new_name=name)


async def _until_stopped(work: Coroutine[Any, Any, None], stop: threading.Event) -> None:
    """Run `work` until it is done or another thread sets `stop`."""
    task = asyncio.ensure_future(work)
    while not task.done() and not stop.is_set():
        await asyncio.wait([task], timeout=LOOK_FOR_STOP_S)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait([task])
