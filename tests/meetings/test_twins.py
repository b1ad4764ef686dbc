"""Two microphones in one room: the same words become one line, from the louder one; nothing that was said is lost."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from django.db import connection
from django.utils import timezone

from meetings import twins
from meetings.lines import utterance_store
from meetings.models import AudioStream, HeardVoice, Meeting, Utterance
from speakers.models import Voiceprint
from tests import factories as make
from tests.listening import Listener
from workers.messages import SAMPLE_RATE_HZ, SpeechResult, VoiceEmbedding, Word

NOW = timezone.now().timestamp()
SAID = "there is an old house near the river"
MISHEARD = "there is a cold house near the liver"


def line(text: str, at_s: float = 0.0, word_s: float = 0.3, level_dbfs: float = -30.0, key: str = "x") -> twins.Line:
    """Words one after the other, the first `at_s` into the scene."""
    words = [
        twins.HeardWord(twins.normalised(word), NOW + at_s + n * word_s, NOW + at_s + (n + 1) * word_s)
        for n, word in enumerate(text.split())
    ]
    return twins.Line(key, words[0].start_s, words[-1].end_s, tuple(words), level_dbfs)


# The decision alone


@pytest.mark.parametrize(
    "other",
    [SAID, "There is an old house, near the river!", MISHEARD, "is an old houses near the river", "an old house near"],
)
def test_the_same_words_at_the_same_time_are_twins_however_they_were_recognised(other: str) -> None:
    at_s = 0.3 * SAID.split().index(twins.normalised(other.split()[0]))
    assert twins.are_twins(line(SAID), line(other, at_s + 0.2))
    assert twins.are_twins(line(other, at_s + 0.2), line(SAID))


@pytest.mark.parametrize(
    ("other", "at_s"),
    [
        (SAID, 3.0),  # said again afterwards
        ("we should paint it blue and green today", 0.0),
        ("there is no time left for the garden", 0.0),  # the small words alone
        ("river the near house old an is there", 0.0),
    ],
)
def test_other_words_or_another_time_are_no_twins(other: str, at_s: float) -> None:
    assert not twins.are_twins(line(SAID), line(other, at_s))


def test_yes_in_two_rooms_is_said_twice_unless_the_voices_are_one() -> None:
    assert not twins.are_twins(line("yes"), line("yes", 0.1))
    assert not twins.are_twins(line("yes please"), line("yes please", 0.1))
    assert twins.are_twins(line("yes"), line("yes", 0.1), voices_agree=True)
    assert not twins.are_twins(line("yes"), line("no", 0.1), voices_agree=True)


def test_russian_words_count_too() -> None:
    assert twins.are_twins(line("ещё один старый дом у реки"), line("еще один старый том у реки", 0.2))


def test_words_are_dealt_to_the_lines_that_say_them() -> None:
    halves = [line("there is an old", 0.0, key="a"), line("house near the river", 1.2, key="b")]
    parts = twins.shares_of(line(SAID, 0.1, level_dbfs=-20.0), halves)
    assert [(part.first, part.last, part.twin, part.louder) for part in parts] == [(0, 4, "a", True), (4, 8, "b", True)]


def test_what_the_other_microphone_did_not_hear_is_a_part_of_its_own() -> None:
    longer = line(SAID + " and a bridge", level_dbfs=-40.0)
    parts = twins.shares_of(longer, [line(SAID)])
    assert [(part.first, part.last, part.twin) for part in parts] == [(0, 8, "x"), (8, 11, None)]
    louder = line(SAID + " and a bridge", level_dbfs=-20.0)
    assert twins.shares_of(louder, [line(SAID)]) == [twins.Part(0, 11, "x", True)]


@pytest.mark.parametrize("levels", [(0.0, -30.0), (-20.0, 0.0), (-30.0, -30.0)], ids=str)
def test_without_a_difference_in_loudness_what_is_there_stays(levels: tuple[float, float]) -> None:
    new, there = line(SAID, level_dbfs=levels[0]), line(SAID, level_dbfs=levels[1])
    assert not any(part.louder for part in twins.shares_of(new, [there]))


@pytest.mark.parametrize("words", [("", "there is"), ("…", "…"), ("a b c", "")], ids=str)
def test_lines_without_words_are_nobodys_twins(words: tuple[str, str]) -> None:
    one, other = (
        twins.Line(key, NOW, NOW + 1.0, twins.heard_words(text, [], NOW, NOW + 1.0), -30.0)
        for key, text in zip("ab", words, strict=True)
    )
    assert not twins.are_twins(one, other, voices_agree=True)


# Written down

database = pytest.mark.django_db


def heard(
    stream: AudioStream, text: str, level_dbfs: float, *, at_s: float = 0.0, sounds: VoiceEmbedding | None = None
) -> SpeechResult:
    """Words of 0.3 s each, `at_s` into the scene, as this stream's microphone took them."""
    texts = text.split()
    words = [Word(word, 300 * n, 300 * (n + 1)) for n, word in enumerate(texts)]
    last_s = at_s + 0.3 * len(texts)
    result = make.speech_result(stream, text, first_s=at_s, last_s=last_s, sounds=sounds, level_dbfs=level_dbfs)
    assert result.transcript is not None
    result.transcript.words = words
    result.started_at, result.ended_at = NOW - 60 + at_s, NOW - 60 + last_s
    return result


def room() -> tuple[Meeting, AudioStream, AudioStream]:
    meeting = make.meeting()
    near, far = (make.stream(meeting, make.participant(meeting, name)) for name in ("Anna", "Robert"))
    return meeting, near, far


def texts_of(meeting: Meeting) -> list[str]:
    return list(meeting.utterances.order_by("started_at").values_list("text", flat=True))


@database
def test_the_quieter_microphone_is_settled_without_a_line(published: Listener) -> None:
    meeting, near, far = room()
    utterance_store(heard(near, SAID, -20.0))
    with published(meeting) as events:
        assert utterance_store(heard(far, MISHEARD, -35.0)) is None
    assert texts_of(meeting) == [SAID]
    (settled,) = events.signals
    assert events == [] and settled["kind"] == "settled"
    assert settled["text"] == MISHEARD and "speaker" not in settled  # nothing replaces what was shown meanwhile
    far.refresh_from_db()
    assert far.next_sample == round(0.3 * 8 * SAMPLE_RATE_HZ)
    assert utterance_store(heard(far, MISHEARD, -35.0)) is None  # again, after a replay


@database
def test_the_louder_microphone_takes_the_lines_place_under_the_same_id(published: Listener) -> None:
    meeting, near, far = room()
    quiet = utterance_store(heard(far, MISHEARD, -35.0, sounds=make.voice(1)))
    assert quiet is not None and quiet.speaker.name == "Robert" and Voiceprint.objects.count() == 1
    with published(meeting) as events:
        loud = utterance_store(heard(near, SAID, -20.0, sounds=make.alike(make.voice(1), 0.9)))
    assert loud is not None and loud.pk == quiet.pk
    stored = Utterance.objects.get()
    assert (stored.text, stored.stream, stored.level_dbfs) == (SAID, near, -20.0)
    # What Robert's microphone made of Anna's voice is not Robert's.
    assert stored.speaker.name == "Anna"
    assert Voiceprint.objects.get().speaker == stored.speaker == HeardVoice.objects.get().speaker
    assert events.of_type("caption.final")[0]["id"] == str(quiet.pk)
    for replay in (heard(near, SAID, -20.0), heard(far, MISHEARD, -35.0)):
        assert utterance_store(replay) is None
    assert texts_of(meeting) == [SAID]


@database
def test_two_who_say_yes_in_different_rooms_both_stay() -> None:
    meeting, near, far = room()
    utterance_store(heard(near, "yes", -20.0, sounds=make.voice(1)))
    utterance_store(heard(far, "yes", -25.0, sounds=make.voice(2)))
    assert texts_of(meeting) == ["yes", "yes"]


@database
def test_a_short_word_in_one_voice_is_one_line() -> None:
    meeting, near, far = room()
    utterance_store(heard(near, "yes please", -20.0, sounds=make.voice(1)))
    utterance_store(heard(far, "yes please", -35.0, sounds=make.alike(make.voice(1), 0.95)))
    assert texts_of(meeting) == ["yes please"]


@database
@pytest.mark.parametrize("louder", ["whole", "halves"])
@pytest.mark.parametrize("first", ["whole", "halves"])
def test_utterances_cut_at_other_places_lose_and_double_no_word(louder: str, first: str) -> None:
    meeting, near, far = room()
    levels = {"whole": -20.0 if louder == "whole" else -35.0, "halves": -20.0 if louder == "halves" else -35.0}
    whole = [heard(near, SAID, levels["whole"])]
    halves = [
        heard(far, "there is an old", levels["halves"]),
        heard(far, "house near the river", levels["halves"], at_s=1.2),
    ]
    for result in whole + halves if first == "whole" else halves + whole:
        utterance_store(result)
    assert " ".join(texts_of(meeting)) == SAID
    samples = Utterance.objects.order_by("stream", "first_sample").values_list("stream", "first_sample", "last_sample")
    assert all(a[2] <= b[1] for a, b in pairwise(samples) if a[0] == b[0])


@database
def test_what_only_the_quieter_microphone_heard_stays() -> None:
    meeting, near, far = room()
    utterance_store(heard(near, SAID, -20.0))
    stored = utterance_store(heard(far, SAID + " and somebody else answers here", -35.0))
    assert stored is not None and stored.text == "and somebody else answers here"
    assert stored.words[0]["start_ms"] == 0 and stored.started_at.timestamp() == pytest.approx(NOW - 60 + 2.4, abs=0.01)
    assert texts_of(meeting) == [SAID, "and somebody else answers here"]


@database
def test_what_the_line_that_is_replaced_had_more_stays() -> None:
    meeting, near, far = room()
    utterance_store(heard(far, SAID + " and somebody else answers here", -35.0))
    utterance_store(heard(near, SAID, -20.0))
    assert texts_of(meeting) == [SAID, "and somebody else answers here"]


@database
def test_a_line_that_a_person_confirmed_stays_as_it_is() -> None:
    meeting, near, far = room()
    utterance_store(heard(far, MISHEARD, -35.0))
    Utterance.objects.update(speaker_confirmed=True)
    assert utterance_store(heard(near, SAID, -20.0)) is None
    assert texts_of(meeting) == [MISHEARD]


@database
def test_the_same_words_in_another_meeting_or_from_the_same_microphone_are_no_twins() -> None:
    meeting, near, _far = room()
    other, elsewhere, _beside = room()
    for stream in (near, elsewhere):
        utterance_store(heard(stream, SAID, -20.0))
    again = heard(near, SAID, -20.0, at_s=2.4)
    again.started_at -= 2.4  # sent again at once, it seems to be spoken earlier
    again.ended_at -= 2.4
    utterance_store(again)
    assert texts_of(meeting) == [SAID, SAID] and texts_of(other) == [SAID]


@pytest.mark.django_db(transaction=True)
def test_two_microphones_stored_at_the_same_moment_make_one_line() -> None:
    meeting, near, far = room()
    start = threading.Barrier(2)

    def work(result: SpeechResult) -> None:
        start.wait(10)
        utterance_store(result)
        connection.close()

    results = (heard(near, SAID, -20.0), heard(far, MISHEARD, -35.0))
    workers = [threading.Thread(target=work, args=(result,)) for result in results]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert texts_of(meeting) == [SAID]
