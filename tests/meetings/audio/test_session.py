from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from meetings.audio.endpointing import EndpointingOptions
from meetings.audio.session import (
    Event,
    Gap,
    Pause,
    SessionOptions,
    Silence,
    SpeechStarted,
    StreamSession,
    Utterance,
    catch_up_together,
)
from meetings.audio.vad import FRAME_SAMPLES
from tests.sounds import RATE_HZ, Sound, clicks, dialogue, hum, lines, melody, noise, silence, spoken

MESSAGE = 3200
"""200 ms, what browsers send."""


def hear(samples: Sound, message: int = MESSAGE, first: int = 0, finish: bool = True) -> list[Event]:
    """The events of a whole stream, cut into messages of equal size."""
    session = StreamSession(first)
    events: list[Event] = []
    for start in range(0, len(samples), message):
        events += session.feed(first + start, samples[start : start + message])
    return events + (session.finish() if finish else [])


def utterances(events: list[Event]) -> list[Utterance]:
    return [event for event in events if isinstance(event, Utterance)]


def test_each_line_of_the_dialogue_is_heard_whole() -> None:
    found = utterances(hear(dialogue()))
    for line in lines():
        covered = sum(
            max(0.0, min(line.end_s, u.last_sample / RATE_HZ) - max(line.start_s, u.first_sample / RATE_HZ))
            for u in found
        )
        assert covered > 0.85 * (line.end_s - line.start_s), line.text


def test_no_utterance_mixes_two_people() -> None:
    for found in utterances(hear(dialogue())):
        speakers = {
            line.speaker
            for line in lines()
            if line.start_s + 0.2 < found.last_sample / RATE_HZ and found.first_sample / RATE_HZ < line.end_s - 0.4
        }
        assert len(speakers) == 1


def test_an_utterance_carries_exactly_its_samples() -> None:
    samples = np.concatenate([noise(1.3, -60), spoken(0), noise(1, -60), spoken(1), noise(1, -60)])
    first = 700_000
    found = utterances(hear(samples, first=first))
    assert len(found) >= 2
    for utterance in found:
        expected = samples[utterance.first_sample - first : utterance.last_sample - first]
        assert utterance.pcm == expected.astype("<i2").tobytes()


def test_what_is_guessed_at_a_pause_is_what_the_utterance_becomes() -> None:
    events = hear(dialogue())
    guessed = {(e.first_sample, e.last_sample): e.pcm for e in events if isinstance(e, Pause)}
    ended_in_silence = [u for u in utterances(events) if (u.first_sample, u.last_sample) in guessed]
    assert len(ended_in_silence) > 0.8 * len(utterances(events))
    assert all(guessed[u.first_sample, u.last_sample] == u.pcm for u in ended_in_silence)


def test_message_sizes_change_nothing_but_how_often_silence_is_said() -> None:
    samples = dialogue()[: 25 * RATE_HZ]
    whole = [event for event in hear(samples) if not isinstance(event, Silence)]
    assert len(utterances(whole)) >= 4
    for message in (320, 777, 1600, 32_000, len(samples)):
        assert [event for event in hear(samples, message) if not isinstance(event, Silence)] == whole


def test_an_utterance_closes_within_a_message_of_half_a_second_of_silence() -> None:
    speech = spoken(0)
    samples = np.concatenate([silence(1), speech, silence(2)])
    session = StreamSession()
    for start in range(0, len(samples), MESSAGE):
        if utterances(session.feed(start, samples[start : start + MESSAGE])):
            closed_after_s = (start + MESSAGE - RATE_HZ - len(speech)) / RATE_HZ
            assert 0.3 < closed_after_s < 0.9
            return
    pytest.fail("the utterance was never closed")


def test_silence_becomes_durable_promptly() -> None:
    session = StreamSession()
    pre_roll = EndpointingOptions().pre_roll_ms * RATE_HZ // 1000
    samples = noise(5, -65)
    until = 0
    for start in range(0, len(samples), MESSAGE):
        for event in session.feed(start, samples[start : start + MESSAGE]):
            assert isinstance(event, Silence)
            assert event.until_sample > until
            until = event.until_sample
        assert session.received_sample - until <= pre_roll + FRAME_SAMPLES


def test_nothing_called_silent_turns_up_in_a_later_utterance() -> None:
    silent_until = 0
    for event in hear(dialogue()):
        if isinstance(event, Silence):
            assert event.until_sample > silent_until
            silent_until = event.until_sample
        elif isinstance(event, Utterance):
            assert event.first_sample >= silent_until
            silent_until = max(silent_until, event.last_sample)
        elif isinstance(event, SpeechStarted):
            assert event.sample >= silent_until


def test_every_sample_is_accounted_for_at_the_end() -> None:
    samples = dialogue()[: 10 * RATE_HZ + 123]
    last = hear(samples)[-1]
    end = last.until_sample if isinstance(last, Silence) else last.last_sample  # type: ignore[union-attr]
    assert end == len(samples)


def test_finishing_mid_word_keeps_what_was_said() -> None:
    cut_off = spoken(0)[: int(1.2 * RATE_HZ)]
    found = utterances(hear(np.concatenate([silence(0.5), cut_off])))
    assert len(found) == 1
    assert found[0].last_sample == RATE_HZ // 2 + len(cut_off)


def test_a_finished_stream_can_go_on() -> None:
    session = StreamSession()
    first = np.concatenate([silence(0.5), spoken(0)])
    assert len(utterances(session.feed(0, first) + session.finish())) == 1
    assert session.in_hand == 0
    position = session.received_sample
    again = utterances(session.feed(position, first) + session.finish())
    assert len(again) == 1
    assert again[0].first_sample >= position


def test_a_gap_closes_the_utterance_in_hand_first() -> None:
    session = StreamSession()
    speech = np.concatenate([silence(0.5), spoken(0)[: int(1.5 * RATE_HZ)]])
    session.feed(0, speech)
    assert session.in_hand > 1
    jump = len(speech) + RATE_HZ
    events = session.feed(jump, silence(1))
    closed, gap = events[:2]
    assert isinstance(closed, Utterance)
    assert closed.last_sample == len(speech)
    assert len(closed.pcm) == 2 * (closed.last_sample - closed.first_sample)
    assert gap == Gap(len(speech), jump)
    assert session.received_sample == jump + RATE_HZ


def test_a_gap_in_silence_first_settles_the_silence_before_it() -> None:
    session = StreamSession()
    session.feed(0, silence(1))
    events = session.feed(5 * RATE_HZ, silence(1))
    assert events[:2] == [Silence(RATE_HZ), Gap(RATE_HZ, 5 * RATE_HZ)]
    assert all(isinstance(event, Silence) and event.until_sample > 5 * RATE_HZ for event in events[2:])


def test_repeats_change_nothing() -> None:
    samples = np.concatenate([silence(0.5), spoken(0), silence(1)])
    session = StreamSession()
    events: list[Event] = []
    for start in range(0, len(samples), MESSAGE):
        again = max(0, start - 1000)
        events += session.feed(start, samples[start : start + MESSAGE])
        assert session.feed(again, samples[again:start]) == []
    assert utterances(events + session.finish()) == utterances(hear(samples))


def test_a_resumed_stream_starts_where_it_is_told() -> None:
    samples = np.concatenate([silence(0.5), spoken(0), silence(1)])
    session = StreamSession(next_sample=4000)
    assert session.received_sample == 4000
    found = utterances(session.feed(0, samples) + session.finish())
    assert found[0].first_sample >= 4000


@pytest.mark.parametrize(
    "sound",
    [silence(20), noise(20, -25), hum(20, -25), clicks(20, -28), melody(20, -20)],
    ids=["silence", "noise", "hum", "keys", "melody"],
)
def test_the_recogniser_never_hears_what_is_not_speech(sound: Sound) -> None:
    events = hear(sound)
    assert utterances(events) == []
    assert events[-1] == Silence(len(sound))


def test_what_is_in_hand_and_how_loud_it_is_can_be_asked() -> None:
    session = StreamSession()
    assert session.level == float("-inf")
    session.feed(0, silence(1))
    assert session.in_hand == 0
    assert session.level < -90
    started = session.feed(RATE_HZ, spoken(0)[:RATE_HZ])
    assert any(isinstance(event, SpeechStarted) for event in started)
    assert 1 <= session.in_hand < 1.5
    assert -40 < session.level < 0


def test_memory_stays_bounded_however_much_comes_at_once() -> None:
    long = np.tile(dialogue()[: 40 * RATE_HZ], 6)
    StreamSession().feed(0, silence(1))
    tracemalloc.start()
    try:
        session = StreamSession()
        for event in session.feed(0, long):
            assert not isinstance(event, Utterance) or len(event.pcm) <= 12.1 * RATE_HZ * 2
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


def test_limits_can_be_set() -> None:
    options = SessionOptions(endpointing=EndpointingOptions(soft_limit_ms=1000, hard_limit_ms=2000))
    session = StreamSession(0, options)
    found = utterances(session.feed(0, np.concatenate([silence(0.5), spoken(0), spoken(1)])) + session.finish())
    assert len(found) > 2
    assert all(u.last_sample - u.first_sample <= 2.1 * RATE_HZ for u in found)


def test_an_utterance_can_be_asked_for_while_it_is_spoken() -> None:
    samples = np.concatenate([silence(0.5), spoken(1), silence(1)])
    (whole,) = utterances(hear(samples))
    session = StreamSession()
    looks = []
    for start in range(0, len(samples), MESSAGE):
        session.feed(start, samples[start : start + MESSAGE])
        so_far = session.so_far()
        if so_far is not None:
            assert session.first_in_hand == so_far.first_sample == whole.first_sample
            assert so_far.last_sample == session.received_sample
            assert so_far.pcm[: len(whole.pcm)] == whole.pcm[: len(so_far.pcm)]
            looks.append(so_far)
    assert len(looks) > 20
    assert session.so_far() is None and session.first_in_hand is None


def test_somebody_is_speaking_in_words_and_not_in_the_pauses() -> None:
    speech = spoken(0)
    samples = np.concatenate([silence(1), speech, silence(1)])
    session = StreamSession()
    speaking = []
    for start in range(0, len(samples), 512):
        session.feed(start, samples[start : start + 512])
        speaking.append(session.is_speaking)
    frame_s = 512 / RATE_HZ
    assert not any(speaking[: int(1 / frame_s)])
    assert sum(speaking) * frame_s > 0.6 * len(speech) / RATE_HZ
    assert not any(speaking[-int(0.6 / frame_s) :])


def test_the_level_is_that_of_the_speech_and_not_of_the_pauses() -> None:
    quiet = np.concatenate([noise(1, -70), spoken(1), noise(1, -70)])
    (soft,) = utterances(hear((quiet * 0.25).astype(np.int16)))
    (loud,) = utterances(hear(quiet))
    speech = spoken(1) / 32768
    whole_dbfs = 10 * np.log10(np.mean(speech * speech))
    assert whole_dbfs - 1 < loud.level_dbfs < whole_dbfs + 4
    assert soft.level_dbfs == pytest.approx(loud.level_dbfs - 12, abs=1)


def test_a_guess_carries_the_level_of_its_final() -> None:
    events = hear(np.concatenate([silence(0.5), spoken(0), silence(1)]))
    (guess, *_), (final, *_) = [e for e in events if isinstance(e, Pause)], utterances(events)
    assert guess.level_dbfs == final.level_dbfs < 0


def test_silence_that_nothing_follows_is_judged_to_its_last_whole_frame() -> None:
    session = StreamSession()
    quiet, rest = silence(4.0)[: 120 * FRAME_SAMPLES], silence(4.0)[: 5 * FRAME_SAMPLES]
    pre_roll = 12 * FRAME_SAMPLES
    assert session.feed(0, quiet) == [Silence(len(quiet) - pre_roll)]
    assert session.feed(len(quiet), rest) == []
    assert session.catch_up() == [Silence(len(quiet) + len(rest) - pre_roll)]
    assert session.catch_up() == []


def hear_together(sounds: list[Sound], messages: list[int], every: int) -> list[list[Event]]:
    """The events of several streams, each cut into messages of its own size; who is due is judged after each `every`
    samples."""
    sessions = [StreamSession() for _ in sounds]
    events: list[list[Event]] = [[] for _ in sounds]
    for until in range(every, max(map(len, sounds)) + every, every):
        for session, sound, message, found in zip(sessions, sounds, messages, events, strict=True):
            while (first := session.received_sample) < min(until, len(sound)):
                found += session.take(first, sound[first : first + message])
        due = [number for number, session in enumerate(sessions) if session.is_due]
        for number, found in zip(due, catch_up_together([sessions[number] for number in due]), strict=True):
            events[number] += found
    return [found + session.finish() for found, session in zip(events, sessions, strict=True)]


@pytest.mark.parametrize("every", [800, 2_400, 48_000])
def test_many_streams_that_are_judged_together_are_heard_as_if_alone(every: int) -> None:
    sounds = [dialogue()[n * RATE_HZ : (n + 12) * RATE_HZ + 77 * n] for n in (0, 7, 15)]
    sounds += [noise(9, -62 + n, seed=n) for n in range(50)]
    messages = [(320, 1536, 777, 32_000)[n % 4] for n in range(len(sounds))]
    for sound, heard in zip(sounds, hear_together(sounds, messages, every), strict=True):
        expected = [event for event in hear(sound) if not isinstance(event, Silence)]
        assert [event for event in heard if not isinstance(event, Silence)] == expected
        assert heard[-1] == hear(sound)[-1]


def test_a_message_in_silence_waits_to_be_judged_with_others_but_not_for_long() -> None:
    session = StreamSession()
    quiet = silence(9.0)
    waits_s = 0.0
    while session.received_sample < len(quiet):
        first = session.received_sample
        events = session.take(first, quiet[first : first + MESSAGE])
        assert session.is_due == (not events)
        waits_s = max(waits_s, session.waiting_frames * FRAME_SAMPLES / RATE_HZ)
    assert 1.5 < waits_s < 2.0
    (events,) = catch_up_together([session])
    assert events == [Silence(len(quiet) // FRAME_SAMPLES * FRAME_SAMPLES - 12 * FRAME_SAMPLES)]
    assert not session.is_due and catch_up_together([session, session]) == [[], []]


def test_speech_does_not_wait_to_be_judged_with_others() -> None:
    session = StreamSession()
    first = np.concatenate([silence(1), spoken(0)[:RATE_HZ]])
    session.take(0, first)
    catch_up_together([session])
    assert session.is_speaking
    after = spoken(0)[RATE_HZ : RATE_HZ + 10 * FRAME_SAMPLES]
    session.take(len(first), after)
    assert session.waiting_frames == 0
