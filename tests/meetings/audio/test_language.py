"""The language of a stream: locked once it is sure, looked at again now and then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.language import (
    CHECK_EVERY_S,
    LEAST_NATS,
    Fate,
    LanguageLock,
    PooledDoubt,
    Understood,
    foreign_since,
)


def told(lock: LanguageLock, language: str, probability: float, speech_s: float = 4.0) -> bool:
    """An utterance of this length comes back, asked for as the lock wished."""
    return lock.heard(language, probability, speech_s, hint=lock.hint(speech_s))


def spoken_for(lock: LanguageLock, seconds: float) -> None:
    for _ in range(round(seconds / 4)):
        told(lock, lock.language, 1.0)


def test_nothing_is_assumed_of_a_new_stream() -> None:
    assert LanguageLock().hint(5.0) == ""


def test_the_first_sure_three_seconds_lock_it() -> None:
    lock = LanguageLock()
    assert not told(lock, "en", 0.95, speech_s=1.5)
    assert not told(lock, "en", 0.6)
    assert told(lock, "ru", 0.8)
    assert lock.hint(4.0) == "ru"


def test_what_was_known_before_counts_from_the_start() -> None:
    assert LanguageLock("ru").hint(4.0) == "ru"


def test_after_a_minute_of_speech_a_long_utterance_is_looked_at_anew() -> None:
    lock = LanguageLock("en")
    spoken_for(lock, CHECK_EVERY_S)
    assert lock.hint(1.0) == "en"
    assert lock.hint(4.0) == ""
    assert not told(lock, "en", 0.9)
    assert lock.hint(4.0) == "en"


def test_a_quotation_is_no_change_of_language() -> None:
    lock = LanguageLock("en")
    spoken_for(lock, CHECK_EVERY_S)
    assert not told(lock, "ru", 0.99)
    assert lock.hint(1.0) == "en" and lock.hint(4.0) == ""
    assert not told(lock, "en", 0.9)
    assert lock.language == "en" and lock.hint(4.0) == "en"


def test_two_sure_looks_in_a_row_change_it() -> None:
    lock = LanguageLock("en")
    spoken_for(lock, CHECK_EVERY_S)
    assert not told(lock, "ru", 0.95)
    assert told(lock, "ru", 0.95)
    assert lock.hint(4.0) == "ru"


def test_doubtful_looks_never_change_it() -> None:
    lock = LanguageLock("en")
    spoken_for(lock, CHECK_EVERY_S)
    for _ in range(5):
        assert not told(lock, "ru", 0.75)
    assert lock.language == "en"


LOOKS = st.lists(st.tuples(st.sampled_from(["en", "ru", ""]), st.floats(0, 1), st.floats(0.2, 12)), max_size=60)


@given(LOOKS)
def test_a_locked_stream_never_forgets_its_language_and_says_when_it_changes(
    looks: list[tuple[str, float, float]],
) -> None:
    lock = LanguageLock()
    for language, probability, speech_s in looks:
        before = lock.language
        changed = told(lock, language, probability, speech_s)
        assert changed == (lock.language != before)
        assert lock.language or not before
        assert lock.hint(speech_s) in ("", lock.language)


# A recogniser that knows a few languages only


def pooled(*doubts: float, pause_s: float = 1.0) -> PooledDoubt:
    doubt = PooledDoubt()
    for one in doubts:
        doubt = doubt.after(one, pause_s)
    return doubt


def test_a_new_stream_is_believed() -> None:
    assert PooledDoubt().understood is Understood.CLEAR
    assert PooledDoubt().after(0.5, 0.0).fate(0.5) is Fate.SHOWN


def test_evidence_adds_up_until_it_is_certain() -> None:
    assert [pooled(*[1.4] * n).understood for n in (1, 2, 3)] == [Understood.DOUBTFUL] * 2 + [Understood.FOREIGN]
    assert pooled(1.4).fate(1.4) is Fate.HELD
    assert pooled(1.4, 1.4, 1.4).fate(1.4) is Fate.REFUSED


def test_what_is_not_doubtful_itself_does_not_wait_for_what_was() -> None:
    assert pooled(1.8, 0.0).understood is Understood.DOUBTFUL
    assert pooled(1.8, 0.0).fate(0.0) is Fate.SHOWN


def test_an_hour_of_english_does_not_hide_a_change() -> None:
    doubt = pooled(*[-3.0] * 100)
    assert doubt.nats >= LEAST_NATS
    assert doubt.after(3.0, 1.0).after(3.5, 1.0).foreign


def test_an_hour_of_another_language_does_not_hide_the_way_back() -> None:
    doubt = pooled(*[3.0] * 100)
    back = doubt.after(-3.0, 1.0)
    assert back.fate(-3.0) is Fate.HELD
    assert back.after(-3.0, 1.0).understood is Understood.CLEAR


def test_between_the_two_it_stays_what_it_was() -> None:
    assert not pooled(2.0).foreign
    assert pooled(5.0, -2.5).foreign


def test_evidence_fades_while_nobody_speaks() -> None:
    assert pooled(5.0).foreign
    assert not pooled(5.0).after(0.1, 300.0).foreign
    assert pooled(5.0).after(0.1, -20.0).nats > 4  # clocks that disagree make it no stronger
    assert pooled(5.0).after(0.1, -20.0).nats <= 5.2


def test_what_nobody_followed_is_shown_only_if_the_doubt_has_gone() -> None:
    assert pooled(1.5).fate_in_the_end(1.5) is Fate.REFUSED
    assert pooled(1.5, -1.0).fate_in_the_end(1.5) is Fate.SHOWN
    assert pooled(5.0, -2.0).fate_in_the_end(-2.0) is Fate.SHOWN


def test_the_change_is_found_where_the_evidence_turns() -> None:
    assert foreign_since([]) == 0
    assert foreign_since([-1.0, -2.0]) == 2
    assert foreign_since([-1.0, 2.0, -0.5, 3.0]) == 1
    assert foreign_since([2.0, -3.0, 3.0]) == 2


@given(st.lists(st.floats(-6, 6), max_size=30))
def test_from_the_change_on_no_part_speaks_against_it(doubts: list[float]) -> None:
    since = foreign_since(doubts)
    assert all(sum(doubts[since:end]) >= -1e-9 for end in range(since, len(doubts) + 1))
    assert all(sum(doubts[start:]) <= sum(doubts[since:]) + 1e-9 for start in range(len(doubts) + 1))
