"""Whose style the picture has. The rule, in full:

1. A speaker's *share* is their talk time in the window over the talk time of all who have a preset, times the preset's
   strength, normalised to add up to 1. Who has no preset is left out; if all strengths are 0 there is no style.
2. Speakers below `LEAST_SHARE` give nothing (unless nobody is above it).
3. Inks: five places are dealt by largest remainder of the shares, at least one to each who gives; a speaker's own
   order is kept, colours that look alike are taken once.
4. Style words: six phrases, dealt in the same way; the heaviest speaker's come first.
5. Negatives of all who give, but never a phrase that a heavier speaker asked for; and a phrase that a heavier speaker
   does not want is not taken from a lighter one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generation.composing.kinds import Line, Style
from generation.composing.words import is_cyrillic
from generation.lexicon import fold, lexicon
from workers.messages import VoiceShare

LEAST_SHARE = 0.12
INKS = 5
STYLE_PHRASES = 6
LONGEST_PHRASE = 60
"""A style phrase longer than this is a story, not a style."""
ALIKE = 36.0
"""Distance in RGB below which two inks are one."""
NEUTRAL = "#8a8f98"
"""Of a voice without a colour."""
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Blend:
    palette: list[str]
    style_phrases: list[str]
    """English."""
    style_said: list[str]
    """The same, as they were typed."""
    negatives: list[str]
    shares: list[dict[str, Any]]
    voices: list[VoiceShare]


def talk_shares(lines: Sequence[Line]) -> dict[str, float]:
    """Share of the talk time by speaker, 0-1; an utterance without a length counts by its words (0.35 s each)."""
    talked: dict[str, float] = {}
    for line in lines:
        spoken_s = line.duration_s if line.duration_s > 0 else 0.35 * len(line.text[:4000].split())
        talked[line.speaker] = talked.get(line.speaker, 0.0) + spoken_s
    total = sum(talked.values())
    return {speaker: spoken_s / total for speaker, spoken_s in talked.items()} if total > 0 else {}


def blend(talked: Mapping[str, float], styles: Mapping[str, Style]) -> Blend:
    """Blend the presets of those who talked (`talked`: share by speaker) by the rule above."""
    heavy = {
        speaker: share * min(1.0, max(0.0, styles[speaker].strength))
        for speaker, share in talked.items()
        if speaker in styles
    }
    total = sum(heavy.values())
    shares = {s: w / total for s, w in sorted(heavy.items(), key=lambda i: (-i[1], i[0])) if w > 0} if total else {}
    giving = {s: w for s, w in shares.items() if w >= LEAST_SHARE} or dict(list(shares.items())[:1])
    whole = sum(giving.values())
    giving = {s: w / whole for s, w in giving.items()}
    wanted, negatives = _words(giving, styles)
    voices = [
        VoiceShare(colour=_colour(styles[s].colour) if s in styles else NEUTRAL, share=round(share, 4))
        for s, share in sorted(talked.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Blend(
        palette=_palette(giving, styles),
        style_phrases=list(wanted),
        style_said=list(wanted.values()),
        negatives=negatives,
        shares=[
            {"speaker": s, "preset": styles[s].name, "version": styles[s].version, "share": round(w, 4)}
            for s, w in shares.items()
        ],
        voices=voices,
    )


def deal(places: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Deal places by largest remainder (Hamilton's method), at least one each, the heaviest first when too few."""
    if not shares:
        return {}
    ordered = sorted(shares, key=lambda s: (-shares[s], s))[:places]
    total = sum(shares[s] for s in ordered)
    exact = {s: places * shares[s] / total for s in ordered}
    dealt = {s: max(1, int(exact[s])) for s in ordered}
    while sum(dealt.values()) > places:
        dealt[max((s for s in ordered if dealt[s] > 1), key=lambda s: dealt[s] - exact[s])] -= 1
    while sum(dealt.values()) < places:
        dealt[max(ordered, key=lambda s: exact[s] - dealt[s])] += 1
    return dealt


def _palette(giving: Mapping[str, float], styles: Mapping[str, Style]) -> list[str]:
    own = {s: _unlike([c.lower() for c in styles[s].palette if COLOUR.fullmatch(c)], []) for s in giving}
    own = {s: inks for s, inks in own.items() if inks}
    palette: list[str] = []
    for speaker, places in deal(INKS, {s: giving[s] for s in own}).items():
        palette += _unlike(own[speaker], palette)[:places]
    for speaker in own:
        if len(palette) < INKS:
            palette += _unlike(own[speaker], palette)[: INKS - len(palette)]
    return palette


def _unlike(inks: Sequence[str], taken: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for ink in inks:
        if all(_distance(ink, other) >= ALIKE for other in (*taken, *kept)):
            kept.append(ink)
    return kept


def _distance(one: str, other: str) -> float:
    pairs = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return math.sqrt(sum((a - b) ** 2 for a, b in pairs))


def _colour(colour: str) -> str:
    return colour.lower() if COLOUR.fullmatch(colour) else NEUTRAL


def split_phrases(text: str) -> dict[str, str]:
    """Style words as English phrases, each with what was typed; a Russian one that no table knows is left out."""
    phrases: dict[str, str] = {}
    for piece in re.split(r"[,;\n]", text[:2000]):
        said = " ".join(piece.split())
        english = lexicon().styles.get(fold(said), "") if is_cyrillic(said) else said
        if english and len(english) <= LONGEST_PHRASE:
            phrases.setdefault(english, said)
    return phrases


def _words(giving: Mapping[str, float], styles: Mapping[str, Style]) -> tuple[dict[str, str], list[str]]:
    """(style phrases: English to what was typed, unwanted phrases), the heaviest speaker first."""
    wanted: dict[str, str] = {}
    unwanted: dict[str, str] = {}
    own = {speaker: split_phrases(styles[speaker].style_words) for speaker in giving}
    dealt = deal(STYLE_PHRASES, {speaker: share for speaker, share in giving.items() if own[speaker]})
    for speaker in giving:
        taken = 0
        for phrase, said in own[speaker].items():
            if taken < dealt.get(speaker, 0) and phrase.lower() not in unwanted and phrase not in wanted:
                wanted[phrase] = said
                taken += 1
        asked = {phrase.lower() for phrase in wanted}
        for phrase in split_phrases(styles[speaker].negative_words):
            if phrase.lower() not in asked:
                unwanted.setdefault(phrase.lower(), phrase)
    return wanted, list(unwanted.values())
