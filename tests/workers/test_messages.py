"""Messages survive the broker, older and newer hosts included."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from kombu.serialization import dumps, loads

from workers import messages
from workers.messages import (
    EmbedRequest,
    EmbedResult,
    EngineFacts,
    EnglishRequest,
    EnglishResult,
    Fetching,
    FetchRequest,
    Heartbeat,
    InterimRequest,
    InterimResult,
    ModelOffer,
    PaintProgress,
    PaintRequest,
    PaintResult,
    Reference,
    Scene,
    SpeechRequest,
    SpeechResult,
    Thing,
    Transcript,
    Turn,
    VoiceEmbedding,
    VoiceShare,
    Wire,
    WireError,
    Word,
)

PCM = np.arange(-3, 3, dtype="<i2").tobytes()
SCENE = Scene(
    title="мост через реку",
    things=[Thing("мост", "bridge", 1.0), Thing("река")],
    phrases=["у воды"],
    palette=["#112233"],
    voices=[VoiceShare("#f4b04a", 0.75)],
    language="ru",
    number=3,
)
VOICE = VoiceEmbedding([0.6, 0.8], "two-numbers", 1.5)
TURN = Turn(900, 1500, "there", [Word("there", 900, 1500)])
MESSAGES: list[Wire] = [
    SpeechRequest("u", 1, "s", 0, 6, PCM, "auto", "ru", "said before", True, True, -23.5, 1.0, 2.0),
    SpeechResult(
        "u", 1, "s", 0, 6, 1.0, 2.0,
        transcript=Transcript("hello there", "en", 0.8, [Word("hello", 0, 300, 0.9), Word("there", 300, 600)]),
        voice=VoiceEmbedding([0.6, 0.8], "two-numbers", 1.5),
        engine=EngineFacts("pocketsphinx", "en-us", languages=["en"]),
        voice_engine=EngineFacts("resemblyzer", "ge2e"),
        timings_ms={"decode": 12.5},
    ),
    SpeechResult("u", 1, "s", 0, 6, 1.0, 2.0, error="engine_failed"),
    SpeechResult("u", 1, "s", 0, 6, 1.0, 2.0, turns=[Turn(0, 900, "hello", [Word("hello", 0, 300)], VOICE), TURN]),
    InterimRequest(1, "s", 0, 6, PCM, "auto", "en", 2.0),
    InterimResult(1, "s", 0, 6, "hello th", "en", 12.5),
    EnglishRequest("u", 1, PCM, "ru"),
    EnglishResult("u", 1, "hello"),
    EmbedRequest("e", PCM),
    EmbedResult("e", VOICE, 5.5),
    FetchRequest(["whisper-base"]),
    PaintRequest("f", 1, "a bridge", "text", SCENE, 2**31 - 1, model="sd15-lcm", finish=True),
    PaintRequest("f", 1, "a bridge", "", SCENE, 7, guidance=7.5, references=[Reference(b"\x89PNG", "style", 0.5)]),
    PaintProgress("f", 1, 2, 4, "data:image/jpeg;base64,AA=="),
    PaintResult(
        "f", 1, b"RIFF\x00\xff", b"RIFF", 64, 36, 7, 1, "horizon", EngineFacts("poster", "1", profile="demo"),
        compromises=["smaller"], timings_ms={"paint": 3.0},
    ),
    Heartbeat("paint", "host-1", {"paint": EngineFacts("poster", "1").to_wire()}, 5.0, "0.1.0"),
    Heartbeat(
        "speech", "host-1", {}, 5.0, offers=[ModelOffer("whisper-base", "speech", 10)],
        fetching=Fetching("whisper-base", 5, 10),
    ),
]  # fmt: skip
NAMES = [f"{type(message).__name__}-{number}" for number, message in enumerate(MESSAGES)]


def through_the_broker(values: Any) -> Any:
    """As Celery carries it: msgpack, bytes included."""
    content_type, encoding, payload = dumps(values, serializer="msgpack")
    return loads(payload, content_type, encoding, accept={content_type})


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_a_message_comes_back_equal_with_everything_nested_in_it(message: Wire) -> None:
    assert type(message).from_wire(through_the_broker(message.to_wire())) == message


def test_every_message_is_tried_here() -> None:
    tried = {type(message) for message in MESSAGES}
    nested = {Transcript, Word, VoiceEmbedding, Turn, EngineFacts, ModelOffer, Fetching, Reference}
    nested |= {Scene, Thing, VoiceShare}
    defined = {value for value in vars(messages).values() if isinstance(value, type) and issubclass(value, Wire)}
    assert defined - nested - {Wire} == tried


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_fields_of_a_newer_host_are_ignored(message: Wire) -> None:
    assert type(message).from_wire({**message.to_wire(), "mood_ring": {"green": 1}}) == message


@pytest.mark.parametrize("message", MESSAGES, ids=NAMES)
def test_a_message_without_a_field_that_it_needs_is_refused_by_name(message: Wire) -> None:
    wire = message.to_wire()
    needed = [f.name for f in dataclasses.fields(message) if f.default is dataclasses.MISSING  # type: ignore[arg-type]
              and f.default_factory is dataclasses.MISSING]  # fmt: skip
    assert needed
    for name in needed:
        with pytest.raises(WireError, match=name):
            type(message).from_wire({key: value for key, value in wire.items() if key != name})


def test_an_older_hosts_message_gets_the_defaults() -> None:
    wire = {"id": "f", "meeting": 1, "prompt": "p", "negative": "", "scene": {"title": "t"}, "seed": 1}
    request = PaintRequest.from_wire(wire)
    assert (request.width_px, request.height_px, request.scene.mood, request.scene.things) == (0, 0, "calm", [])


@pytest.mark.parametrize("wrong", [None, [], "text", 7])
def test_what_is_no_message_at_all_is_refused(wrong: Any) -> None:
    with pytest.raises(WireError):
        PaintRequest.from_wire(wrong)
