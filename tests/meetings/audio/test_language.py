"""The language of a stream: locked once it is sure, looked at again now and then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.language import CHECK_EVERY_S, LanguageLock


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
