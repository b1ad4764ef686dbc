from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.endpointing import (
    Decision,
    DecisionKind,
    Endpointer,
    EndpointingOptions,
    frames_of,
    quietest,
)

OPTIONS = EndpointingOptions()
SPEECH, SILENCE, BETWEEN = 0.9, 0.0, 0.4
PRE_ROLL, POST_ROLL = frames_of(OPTIONS.pre_roll_ms), frames_of(OPTIONS.post_roll_ms)


def run(probabilities: list[float], loudness: list[float] | None = None) -> list[Decision]:
    """All decisions, with the end of the stream after the last frame."""
    endpointer = Endpointer(OPTIONS)
    decisions = []
    for index, probability in enumerate(probabilities):
        decisions += endpointer.push(probability, loudness[index] if loudness else -30.0)
    return decisions + endpointer.finish()


def utterances(decisions: list[Decision]) -> list[tuple[int, int]]:
    return [(d.first, d.last) for d in decisions if d.kind is DecisionKind.UTTERANCE]


def test_durations_round_up_to_frames() -> None:
    assert [frames_of(ms) for ms in (0, 1, 32, 33, 500)] == [0, 1, 1, 2, 16]


def test_an_utterance_has_pre_roll_and_post_roll() -> None:
    decisions = run([SILENCE] * 50 + [SPEECH] * 40 + [SILENCE] * 50)
    assert utterances(decisions) == [(50 - PRE_ROLL, 90 + POST_ROLL)]


def test_it_ends_half_a_second_after_the_last_voice() -> None:
    endpointer = Endpointer(OPTIONS)
    for _ in range(40):
        endpointer.push(SPEECH, -30)
    decisions = [endpointer.push(SILENCE, -60) for _ in range(100)]
    ended = [index for index, made in enumerate(decisions) if any(d.kind is DecisionKind.UTTERANCE for d in made)]
    assert ended == [frames_of(OPTIONS.end_silence_ms) - 1]


def test_a_quarter_of_a_second_of_silence_is_worth_a_guess_at_the_very_same_frames() -> None:
    endpointer = Endpointer(OPTIONS)
    decisions = [endpointer.push(p, -30) for p in [SPEECH] * 40 + [SILENCE] * 40]
    (paused,) = [(index, d) for index, made in enumerate(decisions) for d in made if d.kind is DecisionKind.PAUSED]
    assert paused[0] == 40 + frames_of(OPTIONS.guess_silence_ms) - 1
    (ended,) = utterances([d for made in decisions for d in made])
    assert (paused[1].first, paused[1].last) == ended


def test_whoever_goes_on_after_a_pause_makes_the_guess_void() -> None:
    pause = frames_of(OPTIONS.guess_silence_ms) + 2
    decisions = run([SPEECH] * 20 + [SILENCE] * pause + [SPEECH] * 20)
    (paused,) = [d for d in decisions if d.kind is DecisionKind.PAUSED]
    (ended,) = utterances(decisions)
    assert paused.last < ended[1]


def test_speech_is_announced_once_it_is_certain() -> None:
    endpointer = Endpointer(OPTIONS)
    decisions = [endpointer.push(SPEECH, -30) for _ in range(10)]
    started = [index for index, found in enumerate(decisions) if found]
    assert started == [frames_of(OPTIONS.start_ms) - 1]
    assert decisions[started[0]] == [Decision(DecisionKind.STARTED, 0, 0)]


def test_a_doubtful_frame_keeps_speech_going_but_does_not_start_it() -> None:
    assert run([BETWEEN] * 100) == []
    held = run([SPEECH] * 20 + [BETWEEN] * 60 + [SPEECH] * 20 + [SILENCE] * 20)
    assert len(utterances(held)) == 1


def test_a_short_pause_does_not_end_an_utterance() -> None:
    pause = frames_of(OPTIONS.end_silence_ms) - 2
    assert len(utterances(run([SPEECH] * 20 + [SILENCE] * pause + [SPEECH] * 20))) == 1


def test_what_is_too_short_is_dropped_and_becomes_silence() -> None:
    endpointer = Endpointer(OPTIONS)
    decisions = []
    for probability in [SILENCE] * 30 + [SPEECH] * 5 + [SILENCE] * 40:
        decisions += endpointer.push(probability, -30)
    assert [d.kind for d in decisions] == [DecisionKind.STARTED, DecisionKind.DROPPED]
    assert endpointer.silent_until == 75 - PRE_ROLL


def test_a_click_is_given_up_quickly() -> None:
    endpointer = Endpointer(OPTIONS)
    endpointer.push(SPEECH, -30)
    frames = 0
    while endpointer.first is not None:
        endpointer.push(SILENCE, -60)
        frames += 1
        assert frames < 100
    assert frames == frames_of(OPTIONS.blip_ms)


def test_silence_follows_at_a_distance_of_the_pre_roll() -> None:
    endpointer = Endpointer(OPTIONS)
    for _ in range(100):
        endpointer.push(SILENCE, -70)
    assert endpointer.silent_until == 100 - PRE_ROLL
    endpointer.skip(10)
    assert endpointer.silent_until == 110 - PRE_ROLL


def test_nothing_can_be_skipped_while_someone_speaks() -> None:
    endpointer = Endpointer(OPTIONS)
    endpointer.push(SPEECH, -30)
    with pytest.raises(ValueError, match="nobody speaks"):
        endpointer.skip(1)


def test_a_monologue_ends_at_the_first_word_gap_after_the_soft_limit() -> None:
    soft, gap = frames_of(OPTIONS.soft_limit_ms), frames_of(OPTIONS.cut_gap_ms)
    early = [SPEECH] * (soft - 60) + [SILENCE] * gap + [SPEECH] * 80
    found = utterances(run(early + [SILENCE] * gap + [SPEECH] * 50))
    assert found[0] == (0, soft - 60 + gap + 80 + gap)
    assert found[1][0] == found[0][1]


def test_a_monologue_without_a_gap_is_cut_at_its_quietest_place() -> None:
    hard = frames_of(OPTIONS.hard_limit_ms)
    loudness = [-20.0] * (hard + 60)
    loudness[hard - 32 : hard - 27] = [-26.0, -34.0, -40.0, -34.0, -26.0]
    found = utterances(run([SPEECH] * (hard + 60), loudness))
    assert found == [(0, hard - 30), (hard - 30, hard + 60)]


def test_the_quietest_place_is_the_middle_of_the_quietest_run() -> None:
    assert quietest([-20, -20, -50, -50, -50, -20]) == 3
    assert quietest([-20.0] * 5) == 3
    assert quietest([-20.0]) == 1


@given(st.lists(st.tuples(st.sampled_from([SPEECH, BETWEEN, SILENCE]), st.integers(1, 120)), max_size=25))
def test_utterances_never_overlap_and_have_bounded_length(stretches: list[tuple[float, int]]) -> None:
    endpointer = Endpointer(OPTIONS)
    position = 0
    decisions: list[Decision] = []
    for probability, count in stretches:
        for _ in range(count):
            found = endpointer.push(probability, -30 if probability else -60)
            decisions += found
            # What was called silent before is in no later utterance.
            for decision in found:
                if decision.kind is not DecisionKind.DROPPED:
                    assert decision.first >= position
            assert endpointer.silent_until >= position
            position = endpointer.silent_until
    decisions += endpointer.finish()
    assert endpointer.silent_until == endpointer.frame
    found_utterances = utterances(decisions)
    for (_, end), (begin, _) in pairwise(found_utterances):
        assert end <= begin
    for begin, end in found_utterances:
        assert frames_of(OPTIONS.min_voiced_ms) <= end - begin <= frames_of(OPTIONS.hard_limit_ms)
