"""Which model a host should run: decided from settings, what is installed and the machine; plain values in and out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.hardware import Hardware
from workers.models.catalogue import CATALOGUE, Model, Role
from workers.models.store import Look, State

AUTO = "auto"
DEMO = {Role.SPEECH: "pocketsphinx", Role.VOICE: "resemblyzer", Role.PAINT: "poster"}
"""The engines whose model comes with their package."""
SETTING = {Role.SPEECH: "MEETVIZ_SPEECH", Role.VOICE: "MEETVIZ_VOICE", Role.PAINT: "MEETVIZ_PAINTER"}


LARGE_NEEDS_MB = 5_500
"""Memory of a card for a large model: faster-whisper's own figures are 4.5 GB in float16 and 2.9 GB in int8, and the
display and a small painter need some, too. A GTX 1660 Ti has 6,144."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that a role could be given to."""

    role: Role
    engine: str
    """`EngineFacts.name`."""
    name: str
    """Of the model: as in the catalogue, or its folder's."""
    folder: Path | None = None
    """None for demo engines."""
    problem: str = ""
    """Why it cannot be used as it stands, where it cannot."""

    @property
    def demo(self) -> bool:
        return self.engine == DEMO[self.role]


def fitting(role: Role, machine: Hardware) -> list[str]:
    """The models that this machine can keep up with, best first.

    Whisper computes 30 s windows whatever was said. On two cores a window takes 0.4 s (tiny), 1.4 s (base) and 3.4 s
    (small) in single precision; medium and large are for graphics cards.
    """
    if role == Role.VOICE:
        return ["ecapa-voxceleb"]
    if any(card.memory_mb >= LARGE_NEEDS_MB for card in machine.cuda):
        order = ["whisper-large-v3", "whisper-large-v3-turbo", "whisper-medium", "whisper-small", "whisper-base"]
        # English alone is less than any of those can do.
        return [*order, "whisper-tiny", "distil-large-v3"]
    if machine.cuda or machine.cores >= 4:
        return ["whisper-small", "whisper-base", "whisper-tiny"]
    return ["whisper-base", "whisper-tiny", "whisper-small"]


def recommended(role: Role, machine: Hardware) -> Model:
    """What is worth fetching for this machine."""
    return CATALOGUE[fitting(role, machine)[0]]


def candidates(role: Role, wish: str, looks: Mapping[str, Look], machine: Hardware) -> list[Candidate]:
    """What to run in this role, best first; the demo engine last, which always can.

    `wish`: the setting: `auto`, a demo engine, a name of the catalogue, or a folder. `looks`: what there is of each
    model of the catalogue. A candidate with a `problem` stands where it would be chosen if it had none.
    """
    demo = Candidate(role, DEMO[role], DEMO[role])
    if wish == DEMO[role]:
        return [demo]
    if wish == AUTO:
        found = [looks[name] for name in fitting(role, machine)]
        there = [seen for seen in found if seen.state in (State.WHOLE, State.DAMAGED)]
        return [*map(_installed, there), demo]
    if wish in CATALOGUE and CATALOGUE[wish].role == role:
        return [_installed(looks[wish]), demo]
    return [_folder(role, wish), demo]


def _installed(seen: Look) -> Candidate:
    problem = {
        State.WHOLE: "",
        State.DAMAGED: f"it is damaged ({seen.problem})",
        State.PARTLY: "only a part of it was fetched",
        State.ABSENT: "it is not installed",
    }[seen.state]
    return Candidate(seen.model.role, seen.model.engine, seen.model.name, seen.folder, problem)


def _folder(role: Role, wish: str) -> Candidate:
    folder = Path(wish).expanduser()
    engine = next(model.engine for model in CATALOGUE.values() if model.role == role)
    if os.sep not in wish and not folder.is_dir():
        names = [model.name for model in CATALOGUE.values() if model.role == role]
        known = ", ".join([AUTO, DEMO[role], *names])
        return Candidate(role, engine, wish, folder, f"{SETTING[role]} must be one of {known}, or a folder")
    return Candidate(role, engine, folder.name, folder, "" if folder.is_dir() else f"there is no folder {folder}")
