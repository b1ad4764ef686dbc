"""An engine that knows a few languages hears another one: held back, refused, taken back, and believed again."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from meetings.foreign import HELD_FOR
from meetings.lines import held_settle, utterance_store
from meetings.models import AudioStream, HeardVoice, Language, Meeting, Utterance
from meetings.selectors import context_utterances, recent_captions
from tests import factories as make
from tests.listening import Listener
from workers.messages import SAMPLE_RATE_HZ, EngineFacts, SpeechResult

pytestmark = pytest.mark.django_db

ENGLISH_ONLY = EngineFacts("pocketsphinx", "en-us", demo=True, languages=["en"])
EVERY_LANGUAGE = EngineFacts("faster-whisper", "small")
KINDS = Utterance.Kind


def room(language: str = Language.AUTO, **values: Any) -> tuple[Meeting, AudioStream]:
    meeting = make.meeting(language=language)
    return meeting, make.stream(meeting, language=language, **values)


def heard(
    stream: AudioStream, number: int, doubt: float, text: str = "", *, engine: EngineFacts = ENGLISH_ONLY
) -> SpeechResult:
    """The utterance of this number on a stream, three seconds each and one right after the other."""
    result = make.speech_result(stream, text or f"words number {number}", first_s=3.0 * number, engine=engine)
    assert result.transcript is not None
    result.transcript.language_doubt = doubt
    result.started_at = time.time() - 60 + 3 * number
    result.ended_at = result.started_at + 3
    return result


def say(stream: AudioStream, *doubts: float, first: int = 0, **values: Any) -> None:
    for number, doubt in enumerate(doubts, first):
        utterance_store(heard(stream, number, doubt, **values))


def kinds(stream: AudioStream) -> list[str]:
    return list(stream.utterances.order_by("first_sample").values_list("kind", flat=True))


def long_ago(stream: AudioStream) -> None:
    stream.utterances.update(heard_at=timezone.now() - HELD_FOR - timedelta(seconds=1))


def test_english_is_shown_at_once(published: Listener) -> None:
    meeting, stream = room()
    with published(meeting) as events:
        say(stream, 0.4, -2.0, 0.9)
    assert kinds(stream) == [KINDS.WORDS] * 3
    assert len(events.of_type("caption.final")) == 3
    assert [signal["understood"] for signal in events.signals] == ["clear"] * 3


def test_what_is_doubtful_is_durable_but_nobody_sees_it(published: Listener) -> None:
    meeting, stream = room()
    with published(meeting) as events:
        assert utterance_store(heard(stream, 0, 1.5)) is None
    assert kinds(stream) == [KINDS.HELD]
    assert not events.of_type("caption.final") + events.of_type("caption.gap")
    (signal,) = events.signals
    assert (signal["understood"], signal["last_sample"]) == ("doubtful", 3 * SAMPLE_RATE_HZ)
    assert "text" not in signal and "speaker" not in signal
    assert recent_captions(meeting) == [] and context_utterances(meeting, timezone.now()) == []


def test_english_that_follows_brings_back_what_was_doubtful_in_order(published: Listener) -> None:
    meeting, stream = room()
    say(stream, 1.5)
    with published(meeting) as events:
        say(stream, -2.0, first=1)
    assert kinds(stream) == [KINDS.WORDS] * 2
    assert [event["text"] for event in events.of_type("caption.final")] == ["words number 0", "words number 1"]
    assert [event["rev"] for event in events if "rev" in event] == sorted({e["rev"] for e in events if "rev" in e})


def test_another_language_becomes_gaps_and_what_was_shown_is_taken_back(published: Listener) -> None:
    meeting, stream = room()
    with published(meeting) as events:
        say(stream, 0.8, 1.5, 2.5)
    assert kinds(stream) == [KINDS.GAP] * 3
    shown, *gaps = [event for event in events if event["type"].startswith("caption.")]
    assert shown["type"] == "caption.final"
    assert [gap["reason"] for gap in gaps] == ["language_unsupported"] * 3
    assert gaps[0]["id"] == shown["id"] and gaps[0]["rev"] > shown["rev"]
    assert [caption["type"] for caption in recent_captions(meeting)] == ["caption.gap"] * 3
    assert context_utterances(meeting, timezone.now()) == []
    assert not stream.utterances.exclude(text="", words=[], text_en="").exists()
    assert events.signals[-1]["understood"] == "foreign"
    stream.refresh_from_db()
    assert stream.foreign and stream.next_sample == 9 * SAMPLE_RATE_HZ


def test_english_before_the_change_stays() -> None:
    _meeting, stream = room()
    say(stream, -3.0, -1.5, 0.6, 3.0, 3.0)
    assert kinds(stream) == [KINDS.WORDS] * 2 + [KINDS.GAP] * 3


def test_english_afterwards_is_believed_again_and_nothing_of_it_is_lost() -> None:
    _meeting, stream = room()
    say(stream, 6.0, 2.0)
    say(stream, -2.5, -2.5, -2.5, first=2)
    assert kinds(stream) == [KINDS.GAP] * 2 + [KINDS.WORDS] * 3
    say(stream, 5.0, first=5)
    assert kinds(stream)[-1] == KINDS.HELD
    say(stream, 3.0, first=6)
    assert kinds(stream) == [KINDS.GAP] * 2 + [KINDS.WORDS] * 3 + [KINDS.GAP] * 2


def test_when_nobody_goes_on_what_is_doubtful_becomes_a_gap(published: Listener) -> None:
    meeting, stream = room()
    say(stream, 1.5)
    assert not held_settle() and kinds(stream) == [KINDS.HELD]
    long_ago(stream)
    with published(meeting) as events:
        assert not held_settle()
    assert kinds(stream) == [KINDS.GAP]
    assert len(events) == 1 and not held_settle()


def test_english_that_is_still_held_after_another_language_is_shown_in_the_end() -> None:
    _meeting, stream = room()
    say(stream, 6.0, -2.0)
    assert kinds(stream) == [KINDS.GAP, KINDS.HELD]
    long_ago(stream)
    assert held_settle()
    assert kinds(stream) == [KINDS.GAP, KINDS.WORDS]


@pytest.mark.parametrize("language", [Language.ENGLISH, Language.RUSSIAN])
def test_who_said_which_language_it_is_is_believed(language: str) -> None:
    _meeting, stream = room(language)
    say(stream, 3.0, 3.0)
    assert kinds(stream) == [KINDS.WORDS] * 2


def test_a_stream_whose_own_language_is_said_is_believed_in_a_room_where_it_is_not() -> None:
    meeting = make.meeting(language=Language.AUTO)
    stream = make.stream(meeting, language=Language.ENGLISH)
    say(stream, 6.0, 6.0)
    assert kinds(stream) == [KINDS.WORDS] * 2


def test_an_engine_of_all_languages_ends_the_doubt() -> None:
    _meeting, stream = room()
    say(stream, 6.0)
    say(stream, 0.0, first=1, engine=EVERY_LANGUAGE)
    assert kinds(stream) == [KINDS.GAP, KINDS.WORDS]
    stream.refresh_from_db()
    assert (stream.foreign, stream.language_doubt) == (False, 0.0)


def test_a_result_that_arrives_again_counts_once() -> None:
    _meeting, stream = room()
    result = heard(stream, 0, 3.0)
    for _ in range(3):
        utterance_store(result)
    stream.refresh_from_db()
    assert stream.language_doubt == 3.0 and kinds(stream) == [KINDS.HELD]


def test_a_doubtful_copy_of_what_another_microphone_said_clearly_never_becomes_a_line() -> None:
    meeting, far = room()
    near = make.stream(meeting, language=Language.AUTO)
    said = "there is an old house near the river and a wooden bridge"
    first, second = heard(far, 0, 1.5, said), heard(near, 0, -3.0, said)
    first.level_dbfs, second.level_dbfs = -45.0, -25.0
    utterance_store(first)
    utterance_store(second)
    long_ago(far)
    held_settle()
    assert [line.stream for line in meeting.utterances.all()] == [near]


def test_a_doubtful_line_does_not_take_the_place_of_one_that_people_see() -> None:
    meeting, loud = room()
    quiet = make.stream(meeting, language=Language.AUTO)
    said = "there is an old house near the river and a wooden bridge"
    first, second = heard(quiet, 0, -3.0, said), heard(loud, 0, 1.5, said)
    first.level_dbfs, second.level_dbfs = -45.0, -25.0
    utterance_store(first)
    utterance_store(second)
    assert [(line.stream, line.kind) for line in meeting.utterances.all()] == [(quiet, KINDS.WORDS)]


def test_the_voice_of_what_was_taken_back_is_still_known() -> None:
    _meeting, stream = room()
    result = heard(stream, 0, 6.0)
    utterance_store(result)
    assert not HeardVoice.objects.exists()  # refused at once: no line, no voice
    other = make.stream(make.meeting(language=Language.AUTO), language=Language.AUTO)
    held = heard(other, 0, 1.5)
    held.voice = make.voice(1)
    utterance_store(held)
    say(other, 3.0, first=1)
    assert kinds(other) == [KINDS.GAP] * 2
    line = other.utterances.order_by("first_sample")[0]
    assert line.speaker is not None and HeardVoice.objects.filter(utterance=line).exists()
