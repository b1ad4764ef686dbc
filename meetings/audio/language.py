"""Which language a stream speaks: found out once, looked at again now and then. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

SURE = 0.7
"""Probability from which on a language is believed."""
SURE_OF_ANOTHER = 0.85
"""The same for another language than the one so far: a quotation or a name is no change."""
LOCK_S = 3.0
"""Recognisers guess the language of shorter pieces badly."""
CHECK_EVERY_S = 60.0
"""Of speech."""
CHANGES_AFTER = 2
"""So many looks in a row must say the same other language."""


@dataclass(slots=True)
class LanguageLock:
    """Of one stream whose language is to be found out. `language`: what it was heard to speak before, or empty."""

    language: str = ""
    _unchecked_s: float = 0.0
    _other: str = ""
    _others: int = 0

    def hint(self, speech_s: float) -> str:
        """The language to take for an utterance of this length; empty: let the recogniser find out."""
        due = self._unchecked_s >= CHECK_EVERY_S and speech_s >= LOCK_S
        return "" if due else self.language

    def heard(self, language: str, probability: float, speech_s: float, *, hint: str) -> bool:
        """An utterance came back that was asked for with `hint`; whether the language is another one now."""
        if hint:
            self._unchecked_s += speech_s
            return False
        if speech_s < LOCK_S or not language:
            return False
        if not self.language:
            if probability < SURE:
                return False
            self._lock(language)
            return True
        if language == self.language:
            self._lock(language)
            return False
        if probability < SURE_OF_ANOTHER:
            return False
        self._others = self._others + 1 if language == self._other else 1
        self._other = language
        if self._others < CHANGES_AFTER:
            return False
        self._lock(language)
        return True

    def _lock(self, language: str) -> None:
        self.language, self._unchecked_s, self._other, self._others = language, 0.0, "", 0
