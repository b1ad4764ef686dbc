"""The parts of an utterance that become lines: one for each turn of a voice, or the whole. Plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from workers.messages import SAMPLE_RATE_HZ, SpeechResult, Turn, VoiceEmbedding, Word, turn_id

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one stream that is said in one voice."""

    id: str
    first_sample: int
    last_sample: int
    """One past the last."""
    started_at: float
    ended_at: float
    text: str
    words: tuple[Word, ...] = ()
    """Their times count from `first_sample`."""
    voice: VoiceEmbedding | None = None


def pieces_of(result: SpeechResult, *, by_voice: bool) -> list[Piece]:
    """What was heard as lines, in order, together covering the result's samples; none for an empty transcript.

    `by_voice`: whether the speakers may be told apart, else it stays one line.
    """
    transcript = result.transcript
    if transcript is None or not transcript.text:
        return []
    whole = Piece(
        result.id,
        result.first_sample,
        result.last_sample,
        result.started_at,
        result.ended_at,
        transcript.text,
        tuple(transcript.words),
        result.voice,
    )
    turns = [turn for turn in result.turns if turn.text.strip()]
    if not by_voice or not turns or (len(turns) == 1 and result.voice is not None):
        return [whole]
    starts = [result.first_sample + turn.start_ms * SAMPLES_PER_MS for turn in turns[1:]]
    ends = [result.first_sample + turn.end_ms * SAMPLES_PER_MS for turn in turns[:-1]]
    bounds = [result.first_sample, *starts, result.last_sample]
    if any(later <= earlier for earlier, later in pairwise(bounds)):
        return [whole]  # turns that are not one after the other say nothing that can be trusted
    # A turn ends at its last word at the earliest and where the next begins at the latest.
    ends = [min(max(end, first + 1), after) for end, first, after in zip(ends, bounds, starts, strict=False)]
    return list(_turns(whole, turns, bounds[:-1], [*ends, result.last_sample]))


def _turns(whole: Piece, turns: Sequence[Turn], starts: Sequence[int], ends: Sequence[int]) -> Iterator[Piece]:
    for number, (turn, first, last) in enumerate(zip(turns, starts, ends, strict=True)):
        piece = stretch(whole, turn_id(whole.id, number), first, last)
        words = shifted(turn.words, whole.first_sample, first)
        yield replace(piece, text=turn.text.strip(), words=words, voice=turn.voice)


def stretch(of: Piece, id: str, first_sample: int, last_sample: int) -> Piece:
    """The samples from `first_sample` to `last_sample` of a piece, its words not yet chosen."""
    return replace(
        of,
        id=id,
        first_sample=first_sample,
        last_sample=last_sample,
        started_at=moment_of(of, first_sample),
        ended_at=moment_of(of, last_sample),
    )


def moment_of(of: Piece, sample: int) -> float:
    """When a sample of the piece was spoken (Unix seconds); its last is spoken at its end, whatever clocks say."""
    if sample >= of.last_sample:
        return of.ended_at
    return min(of.ended_at, of.started_at + (sample - of.first_sample) / SAMPLE_RATE_HZ)


def shifted(words: Sequence[Word], from_sample: int, to_sample: int) -> tuple[Word, ...]:
    """Words whose times counted from `from_sample`, counted from `to_sample`."""
    by_ms = (to_sample - from_sample) // SAMPLES_PER_MS
    return tuple(
        replace(word, start_ms=max(0, word.start_ms - by_ms), end_ms=max(0, word.end_ms - by_ms)) for word in words
    )
