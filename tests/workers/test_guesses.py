"""A final that was guessed right costs no second decoding; anything else is decoded as if nobody had guessed."""

from __future__ import annotations

import dataclasses

from workers import guesses
from workers.messages import SpeechRequest, SpeechResult, Transcript


def request(**values: object) -> SpeechRequest:
    fields = {
        "id": "guess",
        "meeting": 1,
        "stream": "s",
        "first_sample": 0,
        "last_sample": 100,
        "pcm": b"",
        "asked_at": 9.0,
    }
    return SpeechRequest(**{**fields, **values})  # type: ignore[arg-type]


def outcome(asked: SpeechRequest, **values: object) -> SpeechResult:
    return SpeechResult(
        id=asked.id,
        meeting=asked.meeting,
        stream=asked.stream,
        first_sample=asked.first_sample,
        last_sample=asked.last_sample,
        started_at=1.0,
        ended_at=2.0,
        transcript=Transcript("Hello."),
        decoded_at=10.5,
        timings_ms={"decode": 800.0, "voice": 30.0},
        **values,
    )  # type: ignore[arg-type]


def test_the_final_takes_the_guess_under_its_own_name_and_once() -> None:
    asked = request(guess=True)
    guesses.keep(asked, outcome(asked))
    final = request(id="final", asked_at=10.25, started_at=5.0, ended_at=6.0)
    taken = guesses.take(final)
    assert taken is not None and taken.transcript is not None
    assert (taken.id, taken.transcript.text, taken.ended_at) == ("final", "Hello.", 6.0)
    assert taken.timings_ms == {"decode": 250.0, "guessed": 830.0}
    assert guesses.take(final) is None


def test_other_samples_other_streams_and_other_wishes_are_decoded_anew() -> None:
    asked = request(guess=True)
    guesses.keep(asked, outcome(asked))
    for other in ({"last_sample": 101}, {"stream": "t"}, {"language": "en"}, {"want_voice": True}):
        assert guesses.take(dataclasses.replace(asked, **other)) is None  # type: ignore[arg-type]
    assert guesses.take(request()) is not None


def test_a_failed_guess_is_forgotten() -> None:
    asked = request(guess=True)
    guesses.keep(asked, outcome(asked, error="engine_failed"))
    assert guesses.take(request()) is None


def test_guesses_that_nobody_asked_for_do_not_pile_up() -> None:
    for number in range(3 * guesses.MOST_KEPT):
        asked = request(first_sample=number, last_sample=number + 1)
        guesses.keep(asked, outcome(asked))
    kept = [n for n in range(3 * guesses.MOST_KEPT) if guesses.take(request(first_sample=n, last_sample=n + 1))]
    assert kept == list(range(2 * guesses.MOST_KEPT, 3 * guesses.MOST_KEPT))
