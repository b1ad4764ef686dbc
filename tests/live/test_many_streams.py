"""A full house: many open microphones, a few of which speak. What is sent is durable, and nobody invents words."""

from __future__ import annotations

import pytest

from meetings.audio.frames import MIN_SAMPLES
from tests.load import Load, Outcome, Plan, Stored, ack_times_ms, stored
from tests.sites import Site

STREAMS, SPEAKING, SECONDS = 60, 2, 10.0


@pytest.fixture(scope="module")
def outcome(live_site: Site) -> Outcome:
    """Ten seconds at their own pace, from another process."""
    load = Load(Plan(live_site.new_meetings(3), STREAMS, SPEAKING, SECONDS))
    try:
        load.wait_until_all_are_open()
        return load.wait()
    finally:
        load.stop()


@pytest.fixture(scope="module")
def kept(outcome: Outcome, live_site: Site) -> Stored:
    """The database, once everything was sent."""
    return stored(live_site)


def test_every_sample_that_was_sent_is_durable_in_the_database(outcome: Outcome, kept: Stored) -> None:
    assert len(outcome.microphones) == STREAMS
    for microphone in outcome.microphones:
        assert microphone.sent_samples == SECONDS * 16_000
        assert microphone.closed_sample == kept.ends[microphone.stream]
        # A rest that is too short for a message of its own is filled up with silence.
        assert 0 <= microphone.closed_sample - microphone.sent_samples < MIN_SAMPLES


def test_no_gap_is_stored_and_no_connection_is_lost(outcome: Outcome, kept: Stored) -> None:
    assert kept.lost_samples(outcome) == 0
    assert not {microphone.stream for microphone in outcome.microphones} & set(kept.gap_samples)
    assert {microphone.connections for microphone in outcome.microphones} == {1}


def test_those_who_speak_are_written_down_and_those_who_do_not_are_not(outcome: Outcome) -> None:
    assert [microphone.captions > 0 for microphone in outcome.microphones] == [True] * SPEAKING + [False] * (
        STREAMS - SPEAKING
    )


def test_silence_is_acked_while_it_goes_on(outcome: Outcome) -> None:
    assert all(microphone.ack_ms for microphone in outcome.silent)


def test_an_ack_counts_for_every_message_that_it_settles_and_for_none_behind_it() -> None:
    sent = [(10_000, 1.0), (12_000, 1.5), (14_000, 2.0)]
    acks = [(3_500, 1.2), (6_000, 1.9)]
    assert ack_times_ms(sent, acks) == [200.0, 400.0]
