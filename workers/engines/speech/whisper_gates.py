"""Which of Whisper's words were really said. Pure decisions on what the decoder says about its own result.

Whisper answers to everything, to silence and noise, too. In this order: broken numbers, no speech, a loop, a guess, our
own prompt come back; and only then the list of phrases that it is known to make up.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workers.engines.speech.phantoms import is_credit, is_phantom, plain
from workers.messages import Word

MOST_PROMPT_CHARS = 200
"""Longer prompts are copied into the result more often, and cost time with every token."""
_SENTENCE_ENDS = ".!?…。！？"
_LOOP_LEAST = 3
"""So often a sentence must come back before it can be a loop."""


@dataclass(frozen=True, slots=True)
class Gates:
    """The first four are the paper's and OpenAI's own (whisper/transcribe.py), `log_probability` but lower: theirs, −1,
    is where decoding is tried again at a higher temperature, which we never do."""

    no_speech: float = 0.6
    """Probability of no speech above which a result must be surer than the next figure."""
    no_speech_log_probability: float = -1.0
    compression_ratio: float = 2.4
    """UTF-8 bytes per byte of zlib; 30 s of fluent Russian have 2.1, of English 1.9."""
    log_probability: float = -1.3
    """Mean over the tokens."""
    sure_log_probability: float = -0.45
    """At this and above, with as little doubt about speech as the next figure, a known phantom was probably said."""
    sure_no_speech: float = 0.3
    phantom_share: float = 0.8
    """Of the letters; with more beside them, the same words are part of what someone said."""
    echo_words: int = 3
    """So many words in the order of the prompt are its echo, unless someone can have said them."""
    words_per_s: float = 6.0
    """Nobody says more."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of what the decoder wrote, with what it says about it."""

    text: str
    start_ms: int
    """Counted from the start of the utterance."""
    end_ms: int
    avg_logprob: float
    """Mean natural logarithm of the tokens' probabilities, their end included."""
    no_speech_prob: float
    words: tuple[Word, ...] = ()
    """Empty where no word times were asked for."""


@dataclass(frozen=True, slots=True)
class Judged:
    kept: tuple[Segment, ...]
    rejected: str = ""
    """The gate that refused the largest part, where nothing is left: `broken_output`, `no_words`, `no_speech`,
    `repetition`, `unsure`, `prompt_echo`, `phantom`."""


def judge(segments: Sequence[Segment], *, prompt: str = "", gates: Gates | None = None) -> Judged:
    """Keep the segments that were said. `prompt`: what the decoder was given as said before."""
    gates = gates or Gates()
    written = [segment for segment in segments if segment.text.strip()]
    refused = {index: gate for index, s in enumerate(written) if (gate := _own_gate(s, gates))}
    rest = [index for index in range(len(written)) if index not in refused]
    refused |= dict.fromkeys(_loop(written, rest, gates), "repetition")
    refused |= {i: "prompt_echo" for i in rest if i not in refused and _is_echo(written[i], prompt, gates)}
    refused |= dict.fromkeys(_phantoms(written, [i for i in rest if i not in refused], gates), "phantom")
    kept = tuple(segment for index, segment in enumerate(written) if index not in refused)
    if kept or not refused:
        return Judged(kept)
    largest = max(refused, key=lambda index: len(written[index].text))
    return Judged((), refused[largest])


def sentences(segment: Segment) -> list[Segment]:
    """The segment cut behind its full stops, each sentence with its own share of the doubt.

    Whisper gives one log-probability for all it writes in a window; each sentence gets it, moved by how much surer or
    less sure its words are than the others. Without words there is nothing to cut by.
    """
    groups: list[list[Word]] = [[]]
    for word in segment.words:
        groups[-1].append(word)
        if word.text.rstrip("\"'»”)").endswith(tuple(_SENTENCE_ENDS)):
            groups.append([])
    groups = [group for group in groups if group]
    if len(groups) < 2:
        return [segment]
    of_all = _mean_log(segment.words)
    return [
        replace(
            segment,
            text=text,
            start_ms=group[0].start_ms,
            end_ms=group[-1].end_ms,
            avg_logprob=min(0.0, segment.avg_logprob + _mean_log(group) - of_all),
            words=tuple(group),
        )
        for text, group in zip(_texts(segment.text, groups), groups, strict=True)
    ]


def _texts(text: str, groups: Sequence[Sequence[Word]]) -> list[str]:
    """What of the text belongs to each group of words, spaced as it is there: not every script has spaces."""
    texts, end = [], 0
    for group in groups:
        start = end
        for word in group:
            place = text.find(word.text, end)
            end = place + len(word.text) if place >= 0 else end
        texts.append(text[start:end].strip())
    return texts


def compression_ratio(text: str) -> float:
    """UTF-8 bytes per byte that zlib needs: 0.5–2 for what people say, more for loops."""
    content = text.encode()
    return len(content) / len(zlib.compress(content))


def usable_prompt(prompt: str) -> str:
    """The end of what was said before, as far as it may be given to the decoder: whole words, at most 200 characters.

    Empty when it is a phantom or a loop itself: it would only bring forth more of them.
    """
    text = " ".join("".join(char if char.isprintable() else " " for char in prompt).split())
    if len(text) > MOST_PROMPT_CHARS:
        tail = text[-MOST_PROMPT_CHARS - 1 :]
        text = tail.partition(" ")[2]
    if not plain(text) or is_phantom(text) or compression_ratio(text) > Gates().compression_ratio:
        return ""
    words = plain(text).split()
    most_common = Counter(words).most_common(1)[0][1]
    return "" if len(words) >= 6 and most_common > len(words) / 2 else text


def _own_gate(segment: Segment, gates: Gates) -> str:
    """The gate that refuses this segment whatever the others say; empty: none."""
    # Half precision gone wrong: no number at all, or token 0, "!", again and again.
    if not math.isfinite(segment.avg_logprob) or not segment.text.strip(" !"):
        return "broken_output"
    if not plain(segment.text):
        return "no_words"
    if segment.no_speech_prob > gates.no_speech and segment.avg_logprob < gates.no_speech_log_probability:
        return "no_speech"
    if compression_ratio(segment.text.strip()) > gates.compression_ratio:
        return "repetition"
    if segment.avg_logprob < gates.log_probability:
        return "unsure"
    return ""


def _loop(written: Sequence[Segment], indices: Sequence[int], gates: Gates) -> list[int]:
    """Sentences that are no loops each for itself, but all together ("Thank you. Thank you. Thank you. …")."""
    alike: dict[str, list[int]] = {}
    for index in indices:
        alike.setdefault(plain(written[index].text), []).append(index)
    loops = [same for same in alike.values() if len(same) >= _LOOP_LEAST]
    return [
        index
        for same in loops
        if compression_ratio(" ".join(written[i].text.strip() for i in same)) > gates.compression_ratio
        for index in same
    ]


def _is_echo(segment: Segment, prompt: str, gates: Gates) -> bool:
    """Whether it says again what the prompt says, and not because a person did.

    People do repeat themselves; but then there is speech, and time enough for the words.
    """
    words = plain(segment.text).split()
    if len(words) < gates.echo_words or f" {' '.join(words)} " not in f" {plain(prompt)} ":
        return False
    seconds = max(0.001, (segment.end_ms - segment.start_ms) / 1000)
    said = segment.no_speech_prob <= gates.sure_no_speech and len(words) / seconds <= gates.words_per_s
    return not said


def _phantoms(written: Sequence[Segment], indices: Sequence[int], gates: Gates) -> list[int]:
    """Credits wherever they are; other known phrases where they are nearly all there is and the model is not sure."""
    credit = [index for index in indices if is_credit(written[index].text)]
    rest = [index for index in indices if index not in credit]
    known = [index for index in rest if is_phantom(written[index].text)]
    letters = sum(len(written[index].text) for index in rest)
    if sum(len(written[index].text) for index in known) < gates.phantom_share * letters:
        return credit
    return credit + [index for index in known if not _is_sure(written[index], gates)]


def _is_sure(segment: Segment, gates: Gates) -> bool:
    return segment.avg_logprob >= gates.sure_log_probability and segment.no_speech_prob <= gates.sure_no_speech


def _mean_log(words: Sequence[Word]) -> float:
    return sum(math.log(max(word.probability, 1e-6)) for word in words) / len(words)
