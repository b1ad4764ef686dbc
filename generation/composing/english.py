"""English noun phrases without a tagger: closed word classes, the tables, and what stands before the word."""

from __future__ import annotations

from collections.abc import Sequence

from generation.composing.found import Found
from generation.composing.words import Reading, Word
from generation.lexicon import Metaphor, Visible, lexicon

TITLE_CHARS = 28
"""A title longer than this leaves its line of the poster."""
NOUN_ENDINGS = ("tion", "sion", "ment", "ness", "ity", "ance", "ence", "ship", "ism", "hood", "logy", "graphy", "ture")
GOVERNING = frozenset({"from", "with", "of", "to"})
"""With the prepositions of place: what stands behind them is seldom the subject. "About" and "for" name the topic."""
OTHER_ENDINGS = ("ly", "ing", "ed", "ate", "ive", "ous", "al", "able", "ible", "ful", "less", "ic", "est")
MOST_NOUNS = 3


def english_phrase_at(words: Sequence[Word], start: int) -> Found | None:
    """The noun phrase that begins at `start` (article, number, adjectives, nouns), or None."""
    index, article, determined = start, "", False
    if words[index].reading.role == "determiner":
        determined = True
        article = words[index].form if words[index].form in lexicon().words["en.articles"] else ""
        index += 1
    count = ""
    if _role(words, index) == "number" and words[index].reading.language == "en":
        count = words[index].form
        index += 1
    first_quality = index
    while _is_quality(words, index):
        index += 1
    unknown = ""
    if determined and index == first_quality and _may_modify(words, index):
        unknown = words[index].shown
        index += 1
    qualities = tuple(word.shown for word in words[first_quality:index])
    run = _nouns(words, index, evidence=determined or bool(count) or bool(qualities))
    if not run:
        return _abstract(words, start, index - (1 if unknown else 0), determined)
    last_index, thing, metaphor, plural, head_lemmas = run
    shown = [*qualities, *(word.shown for word in words[index:last_index])]
    evidence = _evidence(words, start, index, determined, count, qualities if not unknown else (), thing, metaphor)
    if evidence <= 0:
        return None
    label = " ".join([count, *shown] if count else shown)
    adjectives = tuple(q for q in qualities if q != unknown)
    phrase = tuple(word.shown for word in words[index : last_index - 1])
    key = thing.english if thing else (metaphor.pictogram if metaphor else label)
    lemmas = {word.reading.lemma for word in words[first_quality:last_index]} | set(head_lemmas) | set(qualities)
    before = words[start - 1] if start else None
    place = before.form if before and before.reading.role == "place" and before.reading.language == "en" else ""
    said = " ".join(word.shown for word in words[start - 1 : last_index]) if place else ""
    return Found(
        key=key,
        label=label,
        title=_title(words, f"{article} {label}".strip(), last_index),
        language="en",
        end=last_index,
        thing=thing,
        metaphor=None if thing else metaphor,
        plural=plural,
        qualities=(*adjectives, *phrase) if thing else adjectives,
        count=count,
        lemmas=frozenset(lemmas | _both_languages(thing, metaphor)),
        place=place,
        place_said=said,
        governed=bool(place) or (before is not None and before.form in GOVERNING),
        evidence=evidence,
        negated=_negated(words, start),
    )


def _nouns(
    words: Sequence[Word], index: int, *, evidence: bool
) -> tuple[int, Visible | None, Metaphor | None, bool, tuple[str, ...]] | None:
    """(end, thing, metaphor, plural, lemmas) of the nouns from `index` on; a thing in them wins over a metaphor."""
    lex = lexicon()
    for length in (3, 2):
        group = words[index : index + length]
        if len(group) < length or any(word.reading.language != "en" for word in group):
            continue
        lemma, plural = lex.forms.get(" ".join(word.form for word in group), ("", False))
        if lemma:
            return index + length, lex.things.get(lemma), lex.metaphors.get(lemma), plural, (lemma,)
    run: list[Reading] = []
    place = index
    while place < len(words) and len(run) < MOST_NOUNS and _is_noun(words[place].reading, evidence):
        if run and (_may_be_verb(words[place].reading) or not _compound(run[-1], words[place].reading)):
            break
        run.append(words[place].reading)
        place += 1
        if run[-1].plural and run[-1].thing:
            break
    if not run:
        return None
    in_list = index > 0 and words[index - 1].reading.noun and words[index - 1].reading.language == "en"
    if not evidence and (len(run) == MOST_NOUNS or in_list):
        # A list without punctuation ("table chair lamp") is three things, not one.
        run = run[:1]
    end = index + len(run)
    things = [reading for reading in run if reading.thing]
    head = run[-1] if run[-1].thing else (things[-1] if things else run[-1])
    return end, head.thing, run[-1].metaphor, head.plural, tuple(reading.lemma for reading in run)


def _is_noun(reading: Reading, evidence: bool) -> bool:
    if not reading.noun:
        return False
    flags = reading.thing.flags if reading.thing else ""
    if "x" in flags or reading.role in ("stop", "blocker", "place", "name"):
        return evidence
    return True


def _compound(first: Reading, second: Reading) -> bool:
    """Whether two nouns are one thing ("kitchen table") rather than two of a list without commas ("cheese fish")."""
    if first.thing is None or second.thing is None:
        return True
    return second.thing.group not in ("people", "animal") and {first.thing.group, second.thing.group} != {"food"}


def _may_be_verb(reading: Reading) -> bool:
    """After a noun more likely its verb: "the plane leaves", "the boy watches"."""
    return reading.role in ("stop", "blocker") or bool(reading.plural and reading.thing and "v" in reading.thing.flags)


def _evidence(
    words: Sequence[Word],
    start: int,
    index: int,
    determined: bool,
    count: str,
    qualities: Sequence[str],
    thing: Visible | None,
    metaphor: Metaphor | None,
) -> float:
    if determined or count or qualities:
        return 1.25 if qualities or count else 1.1
    flags = thing.flags if thing else ""
    before = words[start - 1].reading if start else None
    if before is None or before.role == "break":
        return 0.5 if "v" in flags else 1.0
    if before.role == "blocker":
        # "to fish", "we plan": the same word as a verb. "to school" has no such twin.
        if "v" in flags or (metaphor and not thing):
            return 0.0
        return 0.9
    if before.role in ("place", "preposition"):
        return 1.05
    if before.noun and _may_be_verb(words[index].reading):
        return 0.0
    return 0.5 if "v" in flags else 1.0


def _role(words: Sequence[Word], index: int) -> str:
    return words[index].reading.role if index < len(words) else "break"


def _is_quality(words: Sequence[Word], index: int) -> bool:
    """An adjective; one that is a noun as well ("stone") only where another adjective or noun follows."""
    if index >= len(words):
        return False
    reading = words[index].reading
    if not reading.quality or reading.language != "en":
        return False
    if index + 1 >= len(words):
        return False
    following = words[index + 1].reading
    return following.language == "en" and (following.noun or bool(following.quality))


def _may_modify(words: Sequence[Word], index: int) -> bool:
    """An unknown word between an article and a known noun: "a gothic church"."""
    if index + 1 >= len(words):
        return False
    reading = words[index].reading
    return (
        not reading.role
        and not reading.noun
        and reading.language == "en"
        and not words[index].capital
        and len(words[index].form) > 3
        and words[index + 1].reading.noun
    )


def _negated(words: Sequence[Word], start: int) -> bool:
    if start and words[start - 1].reading.role == "never":
        return True
    for back in (1, 2):
        if start - back < 0 or words[start - back].reading.role == "break":
            return False
        word = words[start - back]
        if word.reading.role == "negation":
            # "not a bridge", "instead of a bridge"; "not like the bridge" is about the bridge all the same.
            return back == 1 or words[start - 1].form == "of"
    return False


def _title(words: Sequence[Word], base: str, end: int) -> str:
    """Add what the phrase is tied to ("launch in march", "a bridge over the river") while it stays short."""
    lex = lexicon()
    if end >= len(words) or words[end].form not in lex.words["en.link_prepositions"]:
        return base
    index = end + 1
    if _role(words, index) == "determiner":
        index += 1
    while _is_quality(words, index):
        index += 1
    run = _nouns(words, index, evidence=True) if index < len(words) else None
    if not run:
        return base
    longer = " ".join([base, *(word.shown for word in words[end : run[0]])])
    return longer if len(longer) <= TITLE_CHARS else base


def _abstract(words: Sequence[Word], start: int, index: int, determined: bool) -> Found | None:
    """A key phrase for type when nothing visible is in it: "the budget meeting", "our reliability"."""
    if index >= len(words):
        return None
    word = words[index]
    reading = word.reading
    if reading.role or reading.noun or reading.quality or reading.language != "en" or word.capital:
        return None
    likely = word.form.endswith(NOUN_ENDINGS)
    if not (likely or determined) or len(word.form) < 4 or word.form.endswith(OTHER_ENDINGS):
        return None
    qualities = tuple(w.shown for w in words[index - 1 : index] if index > start and w.reading.quality)
    label = " ".join([*qualities, word.shown])
    return Found(
        key=reading.lemma,
        label=label,
        title=label,
        language="en",
        end=index + 1,
        lemmas=frozenset({reading.lemma, word.form, *qualities}),
        evidence=0.8 if likely and determined else 0.6 if likely else 0.4,
        negated=_negated(words, start),
    )


def _both_languages(thing: Visible | None, metaphor: Metaphor | None) -> set[str]:
    if thing:
        return {thing.english, thing.group, *thing.russian}
    if metaphor:
        return {metaphor.pictogram, *metaphor.english, *metaphor.russian}
    return set()
