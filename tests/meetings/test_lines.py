"""One result, several voices: each has a line of its own, once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from meetings.lines import utterance_store
from meetings.models import AudioStream, HeardVoice, Utterance
from meetings.services import english_store
from speakers.models import Voiceprint
from tests import factories as make
from tests.listening import Listener
from workers.messages import (
    SAMPLE_RATE_HZ,
    EngineFacts,
    EnglishResult,
    SpeechRequest,
    SpeechResult,
    Transcript,
    Turn,
    VoiceEmbedding,
    Word,
)
from workers.tasks import english_requests

pytestmark = pytest.mark.django_db

ANNA, ROBERT, MAX = (make.voice(seed) for seed in (1, 2, 3))


def turn(start_ms: int, end_ms: int, text: str, sounds: VoiceEmbedding | None) -> Turn:
    texts = text.split()
    step = (end_ms - start_ms) // len(texts)
    words = [Word(t, start_ms + n * step, start_ms + (n + 1) * step - 20) for n, t in enumerate(texts)]
    return Turn(start_ms, end_ms, text, words, sounds)


def table(stream: AudioStream, *turns: Turn, **values: Any) -> SpeechResult:
    """Ten seconds in which several people speak at one microphone."""
    result = make.speech_result(
        stream,
        " ".join(t.text for t in turns),
        last_s=10.0,
        voice_engine=EngineFacts("voice", make.VOICE_MODEL),
        **values,
    )
    result.turns = list(turns)
    result.started_at = result.ended_at - 10.0
    return result


def two_turns(stream: AudioStream, **values: Any) -> SpeechResult:
    first, second = turn(200, 4000, "shall we paint it", ANNA), turn(4300, 9800, "rather not today", ROBERT)
    return table(stream, first, second, **values)


def lines() -> list[Utterance]:
    return list(Utterance.objects.select_related("speaker").order_by("first_sample"))


def test_each_turn_is_a_line_under_its_own_speaker(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    result = two_turns(stream, level_dbfs=-23.5)
    with published(meeting) as events:
        stored = utterance_store(result)
    first, second = lines()
    assert stored == first and str(first.pk) == result.id
    assert second.pk == uuid.uuid5(uuid.UUID(result.id), "1")
    assert [(line.text, line.speaker.name) for line in (first, second)] == [
        ("shall we paint it", "Anna"), ("rather not today", "Guest 1"),
    ]  # fmt: skip
    assert (first.first_sample, second.last_sample) == (0, 10 * SAMPLE_RATE_HZ)
    assert second.first_sample == 4300 * 16 and first.last_sample == 4000 * 16
    assert first.level_dbfs == second.level_dbfs == -23.5
    assert events.types == ["speaker.updated", "caption.final"] * 2
    assert [signal["last_sample"] for signal in events.signals] == [10 * SAMPLE_RATE_HZ]
    assert [event["rev"] for event in events] == [1, 2, 3, 4]


def test_a_turns_words_and_times_count_from_its_own_beginning() -> None:
    result = two_turns(make.stream(make.meeting()))
    utterance_store(result)
    first, second = lines()
    assert first.words[0]["start_ms"] == 200  # the first turn begins where the utterance does
    assert second.words[0] == {"text": "rather", "start_ms": 0, "end_ms": 1813}
    assert first.started_at.timestamp() == pytest.approx(result.started_at, abs=1e-3)
    assert second.started_at.timestamp() == pytest.approx(result.started_at + 4.3, abs=1e-3)
    assert second.ended_at.timestamp() == pytest.approx(result.ended_at, abs=1e-3)


def test_turns_that_arrive_again_change_nothing() -> None:
    meeting = make.meeting()
    result = two_turns(make.stream(meeting))
    utterance_store(result)
    before = [list(model.objects.order_by("pk").values()) for model in (Utterance, Voiceprint, HeardVoice)]
    assert utterance_store(result) is None
    result.id, result.first_sample = str(uuid.uuid4()), 4300 * 16  # a replay that is cut at another place
    assert utterance_store(result) is None
    assert [list(model.objects.order_by("pk").values()) for model in (Utterance, Voiceprint, HeardVoice)] == before


def test_a_voice_that_comes_back_inside_an_utterance_is_the_same_person() -> None:
    said = [turn(0, 3000, "one two", ANNA), turn(3000, 6000, "three four", ROBERT), turn(6000, 10_000, "five", ANNA)]
    utterance_store(table(make.stream(make.meeting()), *said))
    assert [line.speaker.name for line in lines()] == ["Anna", "Guest 1", "Anna"]


@pytest.mark.parametrize(("second_ends_ms", "whose"), [(3700, "Anna"), (5900, "Guest 1")])
def test_a_turn_too_short_to_tell_goes_to_the_nearer_neighbour(second_ends_ms: int, whose: str) -> None:
    short = make.alike(MAX, 0.99, speech_s=0.6)
    start_ms = second_ends_ms - 600
    said = [
        turn(0, 3000, "shall we", ANNA),
        turn(start_ms, second_ends_ms, "yes", short),
        turn(6000, 10_000, "no", ROBERT),
    ]
    utterance_store(table(make.stream(make.meeting()), *said))
    assert [line.speaker.name for line in lines()] == ["Anna", whose, "Guest 1"]


def test_a_short_turn_at_the_beginning_goes_to_who_follows_not_to_an_earlier_line() -> None:
    stream = make.stream(make.meeting())
    utterance_store(make.speech_result(stream, "before", sounds=ANNA))
    short = make.alike(ROBERT, 0.99, speech_s=0.5)
    result = table(stream, turn(0, 500, "well", short), turn(600, 9000, "that is something else", ROBERT))
    result.first_sample, result.last_sample = 4 * SAMPLE_RATE_HZ, 14 * SAMPLE_RATE_HZ
    utterance_store(result)
    assert [line.speaker.name for line in lines()] == ["Anna", "Guest 1", "Guest 1"]


def test_turns_that_are_all_too_short_are_one_persons() -> None:
    said = [
        turn(n * 600, n * 600 + 500, f"w{n}", make.alike(voice, 1.0, speech_s=0.5))
        for n, voice in enumerate((ANNA, MAX))
    ]
    utterance_store(table(make.stream(make.meeting()), *said))
    assert [line.speaker.name for line in lines()] == ["Anna", "Anna"]
    assert len({line.speaker for line in lines()}) == 1


def test_a_turn_without_a_voice_held_too_little_speech_and_is_no_surer() -> None:
    stream = make.stream(make.meeting())
    utterance_store(table(stream, turn(0, 4000, "shall we", ANNA), turn(4000, 4500, "hm", None)))
    assert [(line.speaker.name, line.speaker_confidence < 0.5) for line in lines()] == [("Anna", False), ("Anna", True)]


def test_without_consent_an_utterance_stays_one_line_and_no_voice_is_kept() -> None:
    meeting = make.meeting()
    stream = make.stream(meeting, make.participant(meeting, consent_voice_id=False))
    utterance_store(two_turns(stream))
    (line,) = lines()
    assert (line.text, line.speaker.name) == ("shall we paint it rather not today", "Anna")
    assert not HeardVoice.objects.exists() and not Voiceprint.objects.exists()


@pytest.mark.parametrize("times", [(5000, 1000), (0, 0), (20_000, 30_000)], ids=str)
def test_turns_out_of_order_cost_no_words(times: tuple[int, int]) -> None:
    stream = make.stream(make.meeting())
    said = [turn(0, 4000, "one", ANNA), Turn(*times, text="two", words=[], voice=ROBERT)]
    utterance_store(table(stream, *said))
    assert " ".join(line.text for line in lines()) == "one two"


def test_a_turn_without_words_makes_no_line() -> None:
    stream = make.stream(make.meeting())
    silent = Turn(4000, 6000, " ", [], MAX)
    utterance_store(table(stream, turn(0, 4000, "one", ANNA), silent, turn(6000, 9000, "two", ROBERT)))
    assert [line.text for line in lines()] == ["one", "two"]


def test_the_english_of_each_turn_finds_its_own_line(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    result = two_turns(stream)
    request = SpeechRequest(result.id, meeting.pk, result.stream, 0, 160_000, bytes(320_000))
    wishes = english_requests(request, result)
    assert [len(wish.pcm) for wish in wishes] == [4300 * 32, 5700 * 32]
    utterance_store(result)
    with published(meeting) as events:
        for wish, text in zip(wishes, ("Shall we?", "Not today."), strict=True):
            english_store(EnglishResult(wish.id, wish.meeting, text))
    assert [line.text_en for line in lines()] == ["Shall we?", "Not today."]
    assert events.types == ["caption.final"] * 2


def test_who_speaks_twice_in_an_utterance_is_learned_once() -> None:
    said = [turn(0, 3000, "one two", ANNA), turn(3000, 6000, "three four", ROBERT), turn(6000, 10_000, "five", ANNA)]
    utterance_store(table(make.stream(make.meeting()), *said))
    assert Voiceprint.objects.get(speaker__name="Anna").speech_s == ANNA.speech_s
    assert list(HeardVoice.objects.order_by("utterance__first_sample").values_list("learnt", flat=True)) == [
        True, True, False,
    ]  # fmt: skip


def test_the_voice_of_a_line_is_kept_with_its_speaker() -> None:
    utterance_store(make.speech_result(make.stream(make.meeting()), sounds=ANNA))
    heard = HeardVoice.objects.get()
    assert (heard.speaker, heard.model, heard.speech_s) == (lines()[0].speaker, make.VOICE_MODEL, 4.0)
    assert heard.learnt


@pytest.mark.parametrize(
    ("seconds", "probability", "locked"), [(3.0, 0.7, "ru"), (2.9, 0.9, ""), (5.0, 0.69, "")], ids=str
)
def test_a_streams_language_is_noted_once_the_engine_is_sure(seconds: float, probability: float, locked: str) -> None:
    stream = make.stream(make.meeting())
    result = make.speech_result(stream, last_s=seconds)
    result.transcript = Transcript("дом у реки", "ru", language_probability=probability)
    utterance_store(result)
    stream.refresh_from_db()
    assert stream.heard_language == locked
