"""What the next picture shows: from the last minutes of talk to a brief. No model, no Django, no network.

The rules are those of the built-in composer: one subject, visible things, the newest moment, the topic rather than the
people who talk about it. Everything that reaches a prompt is a phrase that the composer recognised, so that an order to
the machine in the conversation ("ignore your instructions …") is only more talk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from generation import safety
from generation.composing import wording
from generation.composing.choosing import MOST_THINGS, Candidate, Choice, choose, is_muted
from generation.composing.english import TITLE_CHARS
from generation.composing.found import Found
from generation.composing.kinds import Brief, Line, Style
from generation.composing.phrases import mentions_in
from generation.composing.styles import Blend, blend, talk_shares
from generation.composing.words import Word, is_cyrillic, read, topics_of, warm_up, words_of
from generation.lexicon import fold, lexicon
from workers.messages import Scene, Thing

__all__ = ["Brief", "Line", "Style", "compose", "count_words", "warm_up"]

MOST_LINES = 2_000
MOST_PHRASES = 4
MAIN_THINGS = 4
"""How many things make a scene's signature."""
HINT_WORDS = 400
HINT_READ = 4_000
HINT_CHARS = 120
"""A hint is a phrase, not a story: more than this is left out, by whole words."""
MOOD_LEAST = 0.8
"""Weight of mood words (1 for one just said) below which the mood is calm."""
TIME_LEAST = 0.45
"""The same for the time of day, below which it is day."""


def compose(
    lines: Sequence[Line],
    styles: Mapping[str, Style],
    *,
    now: float,
    window_s: float,
    language: str,
    previous: Scene | None = None,
    number: int = 0,
    hint: str = "",
    since: float | None = None,
    count_tokens: wording.CountTokens = wording.estimate_tokens,
    neutral: bool = False,
    rules: safety.Rules | None = None,
) -> Brief | None:
    """Write the brief for the next picture, or None when nothing was said that can be painted or set in type.

    `lines`: what was heard, in any order; only what ended in the last `window_s` seconds before `now` (Unix seconds)
    counts. `styles`: presets by speaker. `language`: the meeting's, `en`, `ru` or `auto`. `previous`: the scene of the
    picture on the wall. `number`: how many pictures this meeting has. `hint`: what a person typed with Paint now, it
    becomes the subject. `since`: when the picture on the wall was begun; what was said later is the newest moment.
    `count_tokens`: tokens of a text without start and end marks, by the painter's own tokenizer where there is one.
    `neutral`: a place and a mood only, after a picture of the same talk was held back. `rules`: what is never painted,
    the built-in list if not given: blocked words are left out, and a scene whose subject is blocked becomes neutral.
    """
    window = [line for line in lines if now - window_s <= line.ended_at <= now + 60 and line.text.strip()]
    window.sort(key=lambda line: line.ended_at)
    window = window[-MOST_LINES:]
    talked = talk_shares(window)
    muted = topics_of(topic for style in styles.values() for topic in style.muted)
    names = frozenset(fold(part) for speaker in talked for part in speaker.split())
    before = frozenset(t.english or fold(t.label) for t in previous.things) if previous else frozenset[str]()

    def chosen(lines: Sequence[Line]) -> Choice:
        return choose(
            lines, window_s=window_s, since=since, shares=talked, muted=muted, names=names, previous_keys=before
        )

    choice = chosen(window)
    blocked = safety.categories(hint[:HINT_READ], rules)
    hinted, hint_text = _hint(safety.without_blocked(hint[:HINT_READ], rules), muted)
    if blocked:
        # What is left of such a wish is no phrase any more; the harmless things in it may be painted.
        hint_text, neutral = "", neutral or not hinted or safety.MINORS in blocked
    founds = hinted + [c.found for c in choice.things if c.found.key not in {h.key for h in hinted}]
    founds = founds[:MOST_THINGS]
    if not founds and not hint_text and not neutral:
        return None
    translated = _in_english(window)
    painted = _led_by(founds, hinted, chosen(translated)) if translated and founds else founds
    blocked |= _blocked(founds, rules) | _blocked(painted, rules)
    neutral = neutral or any(_blocked(things[:1], rules) for things in (founds, painted))
    founds, painted = _allowed(founds, rules), _allowed(painted, rules)
    tongue = _language(language, founds, hint_text)
    mood, time = _mood(choice.words), _time_of_day(choice.words)
    style = _style(talked, styles, rules)
    negative = wording.negative_prompt(style.negatives, count_tokens)
    if neutral:
        bare = safety.MINORS in blocked
        return _neutral(founds, bare, mood, time, tongue, style, negative, number, blocked, count_tokens)
    title = _title(founds, hint_text)
    title = title if not safety.is_blocked(title, rules) else founds[0].label
    spoken = hint_text if hint_text and not hinted else ""
    typed = hint_text if hinted else ""
    rest = [found for found in founds if found not in hinted]
    if typed and not is_cyrillic(typed):
        # Typed in English the whole phrase serves better than its nouns: "a castle on a hill at noon".
        english = wording.scene_segments([f for f in painted if f not in hinted], mood, time, "en", typed)
    else:
        english = wording.scene_segments(painted, mood, time, "en", _english_words(spoken))
    local = wording.scene_segments(rest if typed else founds, mood, time, tongue, typed or spoken)
    if not english:
        # Only abstract Russian words: no table knows them, so the model gets the topic as it was said.
        english = [f"a symbolic picture about {title}", *wording.scene_segments((), mood, time, "en", " ")[1:]]
    if safety.MINORS in safety.categories(", ".join([*english, title, *style.style_phrases]), rules):
        blocked |= {safety.MINORS}
        return _neutral((), True, mood, time, tongue, style, negative, number, blocked, count_tokens)
    return Brief(
        scene=Scene(
            title=title,
            things=[
                Thing(label=f.label, english=f.english, weight=_weight(f, choice.things, index))
                for index, f in enumerate(founds)
            ],
            phrases=[text for text in _companions(title, founds, choice) if not safety.is_blocked(text, rules)],
            mood=mood,
            time_of_day=time,
            palette=style.palette,
            voices=style.voices,
            language=tongue,
            number=number,
        ),
        prompt=wording.fit(english, style.style_phrases, count_tokens),
        prompt_local=", ".join([*(local or [title]), *style.style_said]),
        negative=negative,
        alt={code: wording.alt_text(founds if not spoken else (), title, mood, time, code) for code in ("en", "ru")},
        why=_why(choice.things, window),
        style_shares=style.shares,
        signature=_signature(founds, choice.things, hint_text if not hinted else ""),
        blocked=blocked,
    )


def _blocked(founds: Sequence[Found], rules: safety.Rules | None) -> frozenset[str]:
    return frozenset[str]().union(*(safety.categories(found.label, rules) for found in founds))


def _allowed(founds: Sequence[Found], rules: safety.Rules | None) -> list[Found]:
    return [found for found in founds if not safety.is_blocked(found.label, rules)]


def _style(talked: Mapping[str, float], styles: Mapping[str, Style], rules: safety.Rules | None) -> Blend:
    """The blend of the presets without blocked style words."""
    style = blend(talked, styles)
    kept = [
        (english, said)
        for english, said in zip(style.style_phrases, style.style_said, strict=True)
        if not safety.is_blocked(f"{english}. {said}", rules)
    ]
    return replace(style, style_phrases=[english for english, _ in kept], style_said=[said for _, said in kept])


def _neutral(
    founds: Sequence[Found],
    bare: bool,
    mood: str,
    time: str,
    language: str,
    style: Blend,
    negative: str,
    number: int,
    blocked: frozenset[str],
    count_tokens: wording.CountTokens,
) -> Brief:
    """A scene without things: its place if it has one (`bare`: not even that), the time of day, the mood, the style."""
    places = [] if bare else safety.neutral_places(founds)
    local = safety.neutral_segments(places, mood, time, language)
    return Brief(
        scene=Scene(
            title="",
            things=[Thing(label=f.label, english=f.english) for f in places],
            mood=mood,
            time_of_day=time,
            palette=style.palette,
            voices=style.voices,
            language=language,
            number=number,
        ),
        prompt=wording.fit(safety.neutral_segments(places, mood, time, "en"), style.style_phrases, count_tokens),
        prompt_local=", ".join([*local, *style.style_said]),
        negative=negative,
        alt=dict(safety.NEUTRAL_ALT),
        why=[],
        style_shares=style.shares,
        blocked=blocked,
        neutral=True,
    )


def count_words(text: str) -> int:
    """Words that say something: without fillers and hesitation. For `director.Situation.heard_since_painted`."""
    words = words_of(text, limit=1_000)
    return sum(1 for word in words if word.form[0].isalnum() and word.form not in lexicon().words["sounds"])


def _hint(hint: str, muted: Sequence[Sequence[frozenset[str]]]) -> tuple[list[Found], str]:
    """(the things of a typed hint, its words as a title and as prompt); muted topics stay muted."""
    text = " ".join("".join(char if char.isprintable() else " " for char in hint[:HINT_READ]).split())
    if not text:
        return [], ""
    words = words_of(text, limit=HINT_WORDS)
    never = any(word.reading.role == "never" for word in words)
    found = [m.found for m in mentions_in(words, 0) if not is_muted(m.found, muted)]
    unique: dict[str, Found] = {}
    for item in found:
        unique.setdefault(item.key, item)
    things = [item for item in unique.values() if item.english][:3]
    lemmas = {word.reading.lemma for word in words} | {word.form for word in words}
    silenced = never or any(all(lemmas & same for same in topic) for topic in muted)
    if things or silenced:
        return things, wording.shorten(text, lambda part: len(part) <= HINT_CHARS) if things and not silenced else ""
    plain = " ".join(word.shown for word in words if word.form[0].isalnum())
    return [], wording.shorten(plain, lambda part: len(part) <= HINT_CHARS)


def _english_words(spoken: str) -> str:
    """A hint without known things, as far as words can be translated one by one; otherwise as typed."""
    if not is_cyrillic(spoken):
        return spoken
    known = [read(fold(word)).quality for word in spoken.split() if is_cyrillic(word)]
    known = [word for word in known if word not in ("", "?")]
    return f"{' '.join(known)} {spoken}".strip()


def _in_english(window: Sequence[Line]) -> list[Line]:
    """The window with the speech engine's English where there is some; empty when there is none at all.

    Only a model's prompt is written from it: the title and everything else that people read stays as they said it.
    Lines without it are read by the lexicon, as all are without such an engine.
    """
    if not any(line.text_en.strip() for line in window):
        return []
    return [replace(line, text=line.text_en, language="en") if line.text_en.strip() else line for line in window]


def _led_by(founds: Sequence[Found], hinted: Sequence[Found], choice: Choice) -> list[Found]:
    """The things of the translation, but with the subject that the title names, where both have it."""
    things = [c.found for c in choice.things if c.found.key not in {h.key for h in hinted}]
    subject = founds[0].key if founds and not hinted else ""
    things.sort(key=lambda found: found.key != subject)
    if not any(found.english for found in things):
        # Nothing that can be seen came through the translation.
        return list(founds)
    return [*hinted, *things][:MOST_THINGS]


def _title(founds: Sequence[Found], hint_text: str) -> str:
    if hint_text:
        return wording.shorten(hint_text, lambda text: len(text) <= TITLE_CHARS) or hint_text.split()[0][:TITLE_CHARS]
    return founds[0].title


def _language(language: str, founds: Sequence[Found], hint_text: str) -> str:
    if language in ("en", "ru"):
        return language
    if founds:
        return "ru" if sum(1 if f.language == "ru" else -1 for f in founds) > 0 else "en"
    return "ru" if is_cyrillic(hint_text) else "en"


def _weight(found: Found, things: Sequence[Candidate], index: int) -> float:
    heaviest = max((c.weight for c in things), default=0.0)
    for candidate in things:
        if candidate.found is found and heaviest > 0:
            return 1.0 if index == 0 else round(min(1.0, max(0.1, candidate.weight / heaviest)), 3)
    return 1.0


def _companions(title: str, founds: Sequence[Found], choice: Choice) -> list[str]:
    """The second line of type: other phrases, without what the title already says."""
    said = {read(word).lemma for word in fold(title).split() if word[0].isalnum()} | set(fold(title).split())
    phrases: list[str] = []
    for found in [*founds[1:], *choice.phrases]:
        place = found.place_said and found.thing and "l" in found.thing.flags
        text = found.place_said if place and len(found.place_said) <= TITLE_CHARS else found.label
        words = {word for word in fold(text).split() if len(word) > 2}
        lemmas = {read(word).lemma for word in words if word[0].isalnum()}
        if len(text) > TITLE_CHARS or not words or words <= said or lemmas <= said or _head_lemma(found) in said:
            continue
        said |= words | lemmas
        phrases.append(text)
        if len(phrases) == MOST_PHRASES:
            break
    return phrases


def _head_lemma(found: Found) -> str:
    """The lemma of the phrase's last word: "house" when "small red house" is in the title already."""
    return read(fold(found.label).split()[-1]).lemma


def _mood(words: Sequence[tuple[Word, float]]) -> str:
    weights = {mood: _heard(words, listed) for mood, listed in lexicon().moods.items()}
    mood = max(weights, key=lambda name: weights[name])
    return mood if weights[mood] >= MOOD_LEAST else "calm"


def _time_of_day(words: Sequence[tuple[Word, float]]) -> str:
    weights = {time: _heard(words, listed) for time, listed in lexicon().times.items()}
    time = max(weights, key=lambda name: weights[name])
    return time if weights[time] >= TIME_LEAST else "day"


def _heard(words: Sequence[tuple[Word, float]], listed: frozenset[str]) -> float:
    """Weight of the listed words that were said and not denied ("no problem")."""
    total, denied = 0.0, False
    for word, weight in words:
        if not denied and (word.form in listed or word.reading.lemma in listed):
            total += weight
        denied = word.reading.role == "negation"
    return total


def _why(things: Sequence[Candidate], window: Sequence[Line]) -> list[str]:
    newest_first = list(reversed(window))
    used = sorted({mention.line for candidate in things for mention in candidate.mentions})
    return list(dict.fromkeys(newest_first[index].utterance for index in used))


def _signature(founds: Sequence[Found], things: Sequence[Candidate], hint_text: str) -> frozenset[str]:
    """The main things of the newest moment; with too few of them, of the whole picture."""
    if hint_text:
        return frozenset({fold(hint_text)})
    focused = {c.found.key for c in things if c.focused}
    keys = [f.key for f in founds if f.key in focused]
    if len(keys) < 2:
        keys = [f.key for f in founds]
    return frozenset(keys[:MAIN_THINGS])
