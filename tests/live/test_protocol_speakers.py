"""What clients say about who speaks, over the real socket."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import numpy as np
import pytest

from tests.live.talking import Message, Talk, talk_in

pytestmark = pytest.mark.usefixtures("still_well")

Meeting = dict[str, str]
SOMEWHERE = str(uuid.uuid4())
WISHES: dict[str, dict[str, Any]] = {
    "caption.assign": {"utterance": SOMEWHERE, "new_name": "Maria"},
    "caption.confirm": {"utterance": SOMEWHERE, "yes": True},
    "speaker.rename": {"speaker": 1, "name": "Maria"},
    "speaker.merge": {"speaker": 1, "into": 2},
    "speaker.split": {"utterances": [SOMEWHERE]},
    "speaker.forget": {"speaker": 1},
}
BAD: list[tuple[str, dict[str, Any]]] = [
    ("caption.confirm", {"utterance": SOMEWHERE}),
    ("caption.confirm", {"utterance": SOMEWHERE, "yes": "true"}),
    ("caption.confirm", {"utterance": 7, "yes": True}),
    ("speaker.rename", {"speaker": "1", "name": "Maria"}),
    ("speaker.rename", {"name": "Maria"}),
    ("speaker.rename", {"speaker": True, "name": "Maria"}),
    ("speaker.rename", {"speaker": 1, "name": ["Maria"]}),
    ("speaker.merge", {"speaker": 1}),
    ("speaker.merge", {"speaker": 1.5, "into": 2}),
    ("speaker.split", {"utterances": SOMEWHERE}),
    ("speaker.split", {"utterances": [SOMEWHERE, 7]}),
    ("speaker.split", {"utterances": []}),
    ("speaker.forget", {"speaker": None}),
]


@pytest.mark.parametrize("kind", WISHES)
async def test_viewers_say_nothing_about_who_speaks(meeting: Meeting, kind: str) -> None:
    async with talk_in(meeting, "Max", "viewer") as talk:
        await talk.say(kind, **WISHES[kind])
        assert await talk.error() == "not_allowed"


async def test_what_is_not_well_formed_is_refused_and_changes_nothing(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        for kind, fields in BAD:
            await talk.say(kind, **fields)
            assert await talk.error() == "bad_value", (kind, fields)
        for kind, fields in WISHES.items():
            await talk.say(kind, **fields)
            assert await talk.error() in ("unknown_utterance", "unknown_speaker"), kind
        assert (await talk.settled())[-1]["rev"] == 0


async def spoken(talk: Talk, sentence: np.ndarray) -> Message:
    """The line that one sentence becomes."""
    opened = await talk.open_stream()
    await talk.audio(opened, sentence)
    caption = await talk.next("caption.final")
    await talk.close_stream(opened)
    return caption


async def test_names_merges_and_forgetting_reach_everyone(meeting: Meeting, sentence: np.ndarray) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        line = await spoken(talk, sentence)
        anna = line["speaker"]["id"]
        await talk.say("caption.confirm", utterance=line["id"], yes=True)
        confirmed = await viewer.next("caption.final", where=lambda m: m["rev"] > line["rev"])
        assert (confirmed["id"], confirmed["speaker"]["confidence"]) == (line["id"], 1.0)
        await talk.say("speaker.split", utterances=[line["id"]], new_name="Maria")
        event = await viewer.next("speaker.updated", where=lambda m: m["speaker"]["name"] == "Maria")
        maria = event["speaker"]["id"]
        assert maria != anna
        await viewer.next("caption.final", where=lambda m: m["speaker"]["id"] == maria)
        await talk.say("speaker.rename", speaker=maria, name="Masha")
        await viewer.next("speaker.updated", where=lambda m: m["speaker"]["name"] == "Masha")
        await talk.say("speaker.forget", speaker=maria)
        event = await viewer.next("speaker.updated", where=lambda m: m["speaker"]["guest"])
        assert event["speaker"]["name"] == "Guest 1"
        await asyncio.gather(talk.settled(), viewer.settled())
    assert viewer.seen[-1]["captions"][0]["speaker"]["name"] == "Guest 1"
    revs = [message["rev"] for message in viewer.seen if message["type"] in ("caption.final", "speaker.updated")]
    assert revs == sorted(set(revs))
