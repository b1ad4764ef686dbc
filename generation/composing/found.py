"""A noun phrase that was found in talk, in both languages' terms."""

from __future__ import annotations

from dataclasses import dataclass

from generation.lexicon import Metaphor, Visible


@dataclass(frozen=True, slots=True)
class Found:
    key: str
    """The same for everything that is the same thing: English lemma of the thing, or the folded head word."""
    label: str
    """As said, without article, Russian in the nominative: `wooden bridge`, `деревянный мост`."""
    title: str
    """The label with its article and, when it stays short, what it is tied to: `запуск в марте`."""
    language: str
    end: int
    """Index of the first word after the phrase (not after what the title adds)."""
    thing: Visible | None = None
    metaphor: Metaphor | None = None
    plural: bool = False
    qualities: tuple[str, ...] = ()
    """English adjectives; what could not be translated is left out."""
    count: str = ""
    """English number word."""
    lemmas: frozenset[str] = frozenset()
    """Every lemma of the phrase, in both languages: for muted topics."""
    place: str = ""
    """English preposition of place before it (`near`), or empty."""
    place_said: str = ""
    """The phrase with its preposition as said: `near the river`, `у реки`."""
    governed: bool = False
    """Behind a preposition ("in the trees", "from the bridge"): where or with what something is, seldom the subject."""
    evidence: float = 1.0
    """How sure the words around make it that this is a noun, 0–1.25."""
    negated: bool = False

    @property
    def english(self) -> str:
        """Lemma for pictograms; empty for what has none."""
        return self.thing.english if self.thing else self.metaphor.pictogram if self.metaphor else ""

    @property
    def group(self) -> str:
        return self.thing.group if self.thing else "metaphor" if self.metaphor else ""
