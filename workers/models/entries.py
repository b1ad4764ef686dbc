"""What the catalogue says of a model: where its files come from, where they go, what it can do, on what terms."""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_PATH = 300
_PLAIN_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/){0,6}[A-Za-z0-9_-][A-Za-z0-9._-]*")


class Role(enum.StrEnum):
    """What a model is for; the same words as the roles of `EngineFacts` in a heartbeat."""

    SPEECH = "speech"
    VOICE = "voice"
    PAINT = "paint"


class Commercial(enum.StrEnum):
    """Whether pictures may be made with it for a business."""

    YES = "yes"
    RESTRICTED = "restricted"
    """Yes, apart from the uses that an OpenRAIL licence names, such as deceiving or harming people."""
    NO = "no"
    """Not under the licence that it comes with."""


class Family(enum.StrEnum):
    """Paint models of one architecture; LoRAs, adapters and ControlNets belong to one of them."""

    SD15 = "sd15"
    SD2 = "sd2"
    SDXL = "sdxl"
    SDXS = "sdxs"


def is_plain_path(file: str) -> bool:
    """Whether this is a path that may be written below a model's folder.

    Relative, with forward slashes, of plain letters; no part of it hidden, empty, or leading upwards.
    """
    return len(file) <= LONGEST_PATH and bool(_PLAIN_PATH.fullmatch(file))


def matches(file: str, pattern: str) -> bool:
    """Whether a path is the one meant: `*` stands for characters of one name and never for a folder."""
    names, patterns = file.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def without_variant(file: str) -> str:
    """`unet/model.fp16.safetensors` as `unet/model.safetensors`: installed, a model has one edition of each file."""
    return file.replace(".fp16.", ".")


@dataclass(frozen=True, slots=True)
class Source:
    """Files of one repository of the Hugging Face hub, and where they go in the model's folder."""

    repository: str
    needed: tuple[str, ...]
    """Paths, or patterns of them, below `taken_from`, each of which must be there."""
    useful: tuple[str, ...] = ()
    """The same for files that some editions have."""
    taken_from: str = ""
    """A folder of the repository; empty for its top."""
    put_into: str = ""
    """A folder of the model; empty for its top."""
    optional: bool = False
    """A model that somebody brings here in a folder is whole without it, too."""

    def place_of(self, file: str) -> str:
        """Where a file of the repository goes in the model's folder; empty where it does not belong to the model.

        Always empty for what is not a plain path.
        """
        below = f"{self.taken_from}/" if self.taken_from else ""
        if not is_plain_path(file) or not file.startswith(below):
            return ""
        inner = file.removeprefix(below)
        if not any(matches(inner, pattern) for pattern in self.needed + self.useful):
            return ""
        return self._placed(inner)

    def lacks(self, files: Iterable[str]) -> list[str]:
        """Which of the needed files are not among these of the repository."""
        below = f"{self.taken_from}/" if self.taken_from else ""
        there = [file.removeprefix(below) for file in files if file.startswith(below)]
        return [f"{below}{pattern}" for pattern in self.needed if not any(matches(file, pattern) for file in there)]

    @property
    def places(self) -> tuple[str, ...]:
        """Patterns of the needed files, as they lie in the model's folder."""
        return tuple(map(self._placed, self.needed))

    @property
    def useful_places(self) -> tuple[str, ...]:
        return tuple(map(self._placed, self.useful))

    def _placed(self, inner: str) -> str:
        return without_variant(f"{self.put_into}/{inner}" if self.put_into else inner)


@dataclass(frozen=True, slots=True)
class Extra:
    """Something that a model can do only with more files, which are fetched by its name."""

    name: str
    sources: tuple[Source, ...]
    size_bytes: int
    """About; what the hub says at the download counts."""
    licence: str
    references: tuple[str, ...] = ()
    """Uses of `messages.Reference` that become possible."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry: files of one or several repositories that make a model which one engine can load."""

    name: str
    """What people call it, and the name of its folder."""
    role: Role
    engine: str
    """`EngineFacts.name` of the engine that loads it."""
    sources: tuple[Source, ...]
    size_bytes: int
    """About, without extras; what the hub says at the download counts."""
    licence: str
    languages: tuple[str, ...] = ()
    """Codes; empty where it knows about a hundred, or where a language does not matter."""
    translates: bool = False
    """Whether it can say in English what was said in another language."""
    note: str = ""
    """What speaks for it; in English, pages translate it."""
    commercial: Commercial = Commercial.YES
    licence_url: str = ""
    notice: str = ""
    """What somebody has to know and accept before it is fetched; empty where nothing needs to be accepted."""
    family: Family | None = None
    references: tuple[str, ...] = ()
    """Of a paint model: the uses of `messages.Reference` that it can do without extras."""
    extras: tuple[Extra, ...] = ()
    steps: int = 0
    """Sampler steps that it is made for."""
    width_px: int = 0
    height_px: int = 0
    memory_mb: int = 0
    """About: weights in half precision, and what one picture of its usual size needs beside them."""

    @property
    def repository(self) -> str:
        """The one that gives the model its character."""
        return self.sources[0].repository

    @property
    def needed(self) -> tuple[str, ...]:
        """Patterns of the files, as they lie in its folder, without which it is not whole."""
        return tuple(place for source in self.sources if not source.optional for place in source.places)

    @property
    def opt_in(self) -> bool:
        """Whether its licence must be accepted by somebody first."""
        return bool(self.notice)

    def extra(self, name: str) -> Extra | None:
        return next((extra for extra in self.extras if extra.name == name), None)

    def sources_with(self, extras: Iterable[str]) -> tuple[Source, ...]:
        """Its own sources and those of these extras. Unknown extras are left out."""
        chosen = [extra for name in dict.fromkeys(extras) if (extra := self.extra(name))]
        return self.sources + tuple(source for extra in chosen for source in extra.sources)

    def can_do(self, extras: Iterable[str]) -> tuple[str, ...]:
        """Uses of references that it can do with these extras."""
        wanted = set(extras)
        added = [use for extra in self.extras if extra.name in wanted for use in extra.references]
        return tuple(dict.fromkeys((*self.references, *added)))

    def wants(self, file: str) -> bool:
        """Whether a file may lie in its folder under this path, as part of it or of an extra."""
        sources = self.sources_with(extra.name for extra in self.extras)
        return is_plain_path(file) and any(
            matches(file, pattern) for source in sources for pattern in source.places + source.useful_places
        )

    def lacks(self, files: Iterable[str], extras: Iterable[str] = ()) -> list[str]:
        """Which of the needed files are not among these of its folder."""
        files = list(files)
        extra_places = [place for source in self.sources_with(extras)[len(self.sources) :] for place in source.places]
        return [
            pattern for pattern in (*self.needed, *extra_places) if not any(matches(file, pattern) for file in files)
        ]

    def extras_among(self, files: Iterable[str]) -> list[str]:
        """The extras of which all needed files are among these of its folder."""
        files = list(files)
        return [extra.name for extra in self.extras if not self.lacks(files, [extra.name])]
