"""Where one voice follows another inside an utterance, so that one microphone serves a whole table.

Windows of speech are explained as mixtures: a window that spans a change is part one voice, part the other, in the
shares of their speech in it. For a guess of who said which words the voices follow by least squares, and the part of
the windows that they leave unexplained tells how good the guess is. So windows across a change count too, and changes
come out on word gaps although windows are longer than words.

The search starts from one voice throughout, and once more from each grouping of the windows, and takes the best change
of mind (some words in a row go to another voice, old or new) for as long as that explains more than a voice and a cut
cost; the cheapest guess wins. The costs decide how seldom a single voice is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from workers.engines.base import VoiceWindow
from workers.messages import SAMPLE_RATE_HZ, Transcript, Turn, Word

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Samples = npt.NDArray[np.float32]

MAX_VOICES = 4
"""In one utterance, which is at most 12 s."""
MIN_TURN_MS = 700
"""Of words: about a second of speech. Less than this goes to a neighbour."""
QUIET_BELOW_LOUD_DB = 30.0
"""So far below the loud parts of an utterance it is quiet, or, in a noisy room, so little above the room:"""
QUIET_ABOVE_ROOM_DB = 4.0
_QUIET_BLOCK = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True, slots=True)
class TurnCosts:
    """What a guess pays, in squared distance of unit vectors summed over windows."""

    voice: float
    """For each voice but the first."""
    likeness: float
    """More for a voice in proportion to how far its cosine to the most similar other one is above `unlike`: one person
    who changes tone explains windows too, but stays alike."""
    unlike: float
    cut: float
    """For each change of voice."""
    tight_cut: float
    """More for a change where no pause is, in proportion to what of `pause_ms` is missing."""
    pause_ms: int = 200


COSTS = {
    # Measured on utterances that endpointing makes of 6 LibriSpeech speakers, 2 of Harvard sentences and the 3 of the
    # shipped dialogue, words by PocketSphinx: of 302 in one voice 1 is cut (of 95 with noise at 13 dB 1, with the
    # second half 8 dB quieter 1, quieter and duller 3); of 143 in two or three voices 97 % of the words are in a turn
    # of their own speaker, where without turns it would be 60 %.
    "resemblyzer-ge2e-256": TurnCosts(voice=0.35, likeness=1.0, unlike=0.55, cut=0.1, tight_cut=0.2),
    # Not measured on recordings. Windows of one voice lie about twice as far apart in this model, and so far everything
    # scatters; three times the costs find only plain changes.
    "ecapa-voxceleb-192": TurnCosts(voice=1.1, likeness=2.0, unlike=0.45, cut=0.3, tight_cut=0.6),
}


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A turn and whose it is among the voices of its utterance, counted from 0 as they come."""

    voice: int
    turn: Turn


def words_by_turn(
    windows: Sequence[VoiceWindow], transcript: Transcript, samples: Samples, model: str
) -> list[SpokenTurn]:
    """The utterance cut at word gaps where the voice changes, in order; empty when it is one voice throughout.

    `windows`: from a voice engine whose facts say `model`; a model without costs is never cut. `samples`: the whole
    utterance, float32, (n,), 16 kHz; the first turn starts with it, the last one ends with it.
    """
    costs = COSTS.get(model)
    words = transcript.words
    if costs is None or len(words) < 2:
        return []
    labels = voices_of_words(windows, words, pauses_ms(samples, words), costs)
    firsts = [0, *(n for n in range(1, len(words)) if labels[n] != labels[n - 1])]
    if len(firsts) < 2:
        return []
    lasts = [*firsts[1:], len(words)]
    cuts_ms = [0, *(_gap_ms(words[n - 1], words[n]) for n in firsts[1:]), len(samples) * 1000 // SAMPLE_RATE_HZ]
    texts = text_by_turn(transcript.text, words, firsts)
    return [
        SpokenTurn(labels[first], Turn(cuts_ms[n], cuts_ms[n + 1], texts[n], list(words[first:last])))
        for n, (first, last) in enumerate(zip(firsts, lasts, strict=True))
    ]


def voices_of_words(
    windows: Sequence[VoiceWindow], words: Sequence[Word], pauses: Floats, costs: TurnCosts
) -> list[int]:
    """Which voice says each word: numbers from 0 in the order in which they come, all 0 for one voice.

    `pauses`: as `pauses_ms` gives them.
    """
    spans = np.array([[w.start_ms, max(w.start_ms + 1, w.end_ms)] for w in words], dtype=np.float64).reshape(-1, 2)
    shares, vectors = _shares(windows, spans)
    if len(vectors) < 2:
        return [0] * len(words)
    return _Search(shares, vectors @ vectors.T, np.diff(spans)[:, 0], pauses, costs).run()


def pauses_ms(samples: Samples, words: Sequence[Word]) -> Floats:
    """How long it is quiet between each word and the next, shape (words − 1,).

    Heard in the sound as well as taken from the words' times: some recognisers leave no gaps between words.
    """
    blocks = samples[: len(samples) // _QUIET_BLOCK * _QUIET_BLOCK].reshape(-1, _QUIET_BLOCK)
    level = 10 * np.log10(np.mean(blocks * blocks, axis=1) + 1e-12)
    quiet = level < _quiet_dbfs(level)
    pauses = []
    for before, after in pairwise(words):
        middles = [
            (word.start_ms + word.end_ms) // 2 * SAMPLE_RATE_HZ // 1000 // _QUIET_BLOCK for word in (before, after)
        ]
        stretch = "".join("1" if block else "0" for block in quiet[slice(*middles)])
        heard = max(map(len, stretch.split("0"))) * _QUIET_BLOCK * 1000 / SAMPLE_RATE_HZ
        pauses.append(max(heard, after.start_ms - before.end_ms))
    return np.array(pauses, dtype=np.float64)


def _shares(windows: Sequence[VoiceWindow], spans: Floats) -> tuple[Floats, Floats]:
    """How much of each window each word fills, shape (windows, words), rows that add up to 1; and their vectors.

    Windows without words or with numbers that are not finite are left out.
    """
    if not windows:
        return np.zeros((0, len(spans))), np.zeros((0, 1))
    starts = np.array([[window.start_ms] for window in windows], dtype=np.float64)
    ends = np.array([[window.end_ms] for window in windows], dtype=np.float64)
    filled = np.maximum(0, np.minimum(ends, spans[:, 1]) - np.maximum(starts, spans[:, 0]))
    vectors = np.stack([window.vector for window in windows]).astype(np.float64)
    whole = filled.sum(axis=1)
    good = (whole > 0) & np.isfinite(vectors).all(axis=1)
    return filled[good] / whole[good, None], vectors[good]


def _quiet_dbfs(level: npt.NDArray[np.floating]) -> float:
    """What counts as quiet: far below the loud parts, or hardly above the room, which every utterance begins with."""
    if not len(level):
        return 0.0
    room, loud = np.percentile(level, [3, 95])
    return float(max(loud - QUIET_BELOW_LOUD_DB, room + QUIET_ABOVE_ROOM_DB))


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the labels of the words that cost least."""

    shares: Floats
    """(windows, words)"""
    products: Floats
    """Of the windows' vectors with each other, (windows, windows): all that least squares needs of them."""
    lengths_ms: Floats
    pauses: Floats
    costs: TurnCosts

    def run(self) -> list[int]:
        climbed = [self.climb(start) for start in self.starts()]
        return _as_they_come(min(climbed, key=lambda found: found[0])[1])

    def starts(self) -> list[Labels]:
        """One voice throughout; and what groups of similar windows say, because people who take turns often enough
        look like one mixed voice wherever only a few words change hands."""
        starts: list[Labels] = [np.zeros(self.shares.shape[1], dtype=np.int64)]
        for count in range(2, min(MAX_VOICES, len(self.products)) + 1):
            votes = _groups(self.products, count) @ self.shares
            labels = _without_short_turns(votes.argmax(axis=0), self.lengths_ms)
            if labels.any():
                starts.append(labels)
        return starts

    def climb(self, start: Labels) -> tuple[float, Labels]:
        """The best labels that one change of mind after another reaches from `start`, and what they cost."""
        best = start
        least = float(self.cost_of(best[None], int(best.max()) + 1)[0])
        while True:
            found = False
            voices = int(best.max()) + 1
            for target in range(min(voices + 1, MAX_VOICES)):
                guesses = self.variants(best, target)
                if not len(guesses):
                    continue
                costs = self.cost_of(guesses, max(voices, target + 1))
                place = int(np.argmin(costs))
                if costs[place] < least - 1e-9:
                    least, better, found = float(costs[place]), guesses[place], True
            if not found:
                return least, best
            best = better

    def variants(self, labels: Labels, target: int) -> Labels:
        """The same labels with some words in a row given to `target`, no turn too short, no voice without words."""
        until = np.concatenate(([0.0], np.cumsum(self.lengths_ms)))
        count = len(labels)
        edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), count]
        run_start = [max(edge for edge in edges if edge <= n) for n in range(count)]
        run_end = [min(edge for edge in edges if edge > n) for n in range(count)]
        voices = set(range(int(labels.max()) + 1))
        made = []
        for first in range(count):
            left = until[first] - until[run_start[first]]
            if 0 < left < MIN_TURN_MS and labels[first] != target:
                continue
            for last in range(first + 1, count + 1):
                right = until[run_end[last - 1]] - until[last]
                if 0 < right < MIN_TURN_MS and labels[last - 1] != target:
                    continue
                joins = (first > 0 and labels[first - 1] == target) or (last < count and labels[last] == target)
                if until[last] - until[first] < MIN_TURN_MS and not joins:
                    continue
                if (labels[first:last] == target).all():
                    continue
                guess = labels.copy()
                guess[first:last] = target
                if voices <= set(guess.tolist()):
                    made.append(guess)
        return np.array(made, dtype=np.int64).reshape(-1, count)

    def cost_of(self, guesses: Labels, voices: int) -> Floats:
        """What each guess leaves unexplained and what it pays, shape (guesses,); `guesses` is (guesses, words)."""
        costs = self.costs
        mixed = np.stack([(guesses == n) @ self.shares.T for n in range(voices)], axis=1)
        # Least squares with a grain of salt, for voices that no window holds.
        solved = np.linalg.solve(mixed @ mixed.transpose(0, 2, 1) + 1e-3 * np.eye(voices), mixed)
        explained = solved @ self.products
        likeness = explained @ solved.transpose(0, 2, 1)
        gram = mixed @ mixed.transpose(0, 2, 1)
        left = (
            np.trace(self.products)
            - 2 * np.einsum("gvw,gvw->g", explained, mixed)
            + np.einsum("gij,gij->g", gram, likeness)
        )
        changes = guesses[:, 1:] != guesses[:, :-1]
        missing = np.clip(1 - self.pauses / costs.pause_ms, 0, 1)
        paid: Floats = left + changes @ (costs.cut + costs.tight_cut * missing) + costs.voice * (voices - 1)
        norms = np.sqrt(np.maximum(1e-12, np.einsum("gii->gi", likeness)))
        cosines = likeness / (norms[:, :, None] * norms[:, None, :])
        for n in range(1, voices):
            paid += costs.likeness * np.maximum(0, cosines[:, n, :n].max(axis=1) - costs.unlike)
        return paid


def _groups(products: Floats, count: int) -> Floats:
    """Windows in groups by similarity (k-means on the sphere), shape (groups, windows), 1 where a window belongs.

    It begins with windows that are least like each other, so it needs no chance.
    """
    seeds = list(divmod(int(np.argmin(products)), len(products)))
    while len(seeds) < count:
        seeds.append(int(np.argmin(products[:, seeds].max(axis=1))))
    nearest = products[:, seeds].argmax(axis=1)
    for _round in range(5):
        members = (nearest == np.arange(count)[:, None]).astype(np.float64)
        norms = np.sqrt(np.einsum("gi,ij,gj->g", members, products, members))
        nearest = (products @ members.T / np.maximum(norms, 1e-9)).argmax(axis=1)
    groups: Floats = (nearest == np.arange(count)[:, None]).astype(np.float64)
    return groups


def _without_short_turns(labels: Labels, lengths_ms: Floats) -> Labels:
    """Turns that are too short go to the longer neighbour, the shortest first; voices are numbered anew."""
    labels = labels.copy()
    while True:
        edges = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
        turns = list(pairwise(edges))
        lengths = [float(lengths_ms[first:last].sum()) for first, last in turns]
        shortest = int(np.argmin(lengths))
        if len(turns) == 1 or lengths[shortest] >= MIN_TURN_MS:
            return np.array(_as_they_come(labels), dtype=np.int64)
        beside = [n for n in (shortest - 1, shortest + 1) if 0 <= n < len(turns)]
        neighbour = max(beside, key=lambda n: lengths[n])
        labels[slice(*turns[shortest])] = labels[turns[neighbour][0]]


def _as_they_come(labels: Labels) -> list[int]:
    numbers: dict[int, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels.tolist()]


def _gap_ms(before: Word, after: Word) -> int:
    return (before.end_ms + after.start_ms) // 2


_STOPS = (".", "!", "?", "…", ",", ";", ":", "-", "–", "—")


def text_by_turn(text: str, words: Sequence[Word], firsts: Sequence[int]) -> list[str]:
    """What of the transcript's text belongs to each turn; `firsts`: the number of the first word of each.

    Each is a line of its own, so it gets the capital and the full stop that the whole text has.
    """
    places = _places(text, words)
    if places is None:
        pieces = [
            " ".join(word.text.strip() for word in words[first:last])
            for first, last in zip(firsts, [*firsts[1:], len(words)], strict=True)
        ]
    else:
        cuts = [0, *(_cut(text, places[n - 1][1], places[n][0]) for n in firsts[1:]), len(text)]
        pieces = [text[start:end].strip() for start, end in pairwise(cuts)]
    return [_line(piece, like=text.strip()) for piece in pieces]


def _places(text: str, words: Sequence[Word]) -> list[tuple[int, int]] | None:
    """Where in the text each word stands; None when the text is not these words in this order."""
    low = text.lower()
    if len(low) != len(text):
        return None
    places = []
    at = 0
    for word in words:
        bare = word.text.strip().lower()
        start = low.find(bare, at)
        if start < 0 or any(letter.isalnum() for letter in text[at:start]):
            return None
        at = start + len(bare)
        places.append((start, at))
    return places


def _cut(text: str, end: int, start: int) -> int:
    """Between two words: after the first space, so that a dash or quote that opens goes with what it opens."""
    for place in range(end, start):
        if text[place].isspace():
            return place
    return start


def _line(piece: str, *, like: str) -> str:
    if like[:1].isupper():
        piece = piece[:1].upper() + piece[1:]
    if like.endswith(".") and piece and not piece.rstrip("\"'»”)").endswith(_STOPS):
        piece += "."
    return piece
