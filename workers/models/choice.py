"""Which model a host should run: decided from settings, what is installed and the machine; plain values in and out."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workers import profiles
from workers.engines.base import EngineError
from workers.engines.paint.exported import manifest
from workers.hardware import Hardware
from workers.models.catalogue import CATALOGUE, Model, Role
from workers.models.store import Look, State
from workers.profiles import Profile

AUTO = "auto"
DEMO = {Role.SPEECH: "pocketsphinx", Role.VOICE: "resemblyzer", Role.PAINT: "poster"}
"""The engines whose model comes with their package."""
SETTING = {Role.SPEECH: "MEETVIZ_SPEECH", Role.VOICE: "MEETVIZ_VOICE", Role.PAINT: "MEETVIZ_PAINTER"}
EXPORTED_ENGINE = "onnx"
"""The engine that paints with what `models export` made of a model."""


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


def fitting(role: Role, machine: Hardware, profile: Profile | None = None) -> list[str]:
    """The models that this machine can keep up with, best first; empty where it can do with none.

    `profile`: where it is not the one that the machine would have by itself. Whisper computes 30 s windows whatever was
    said. On two cores a window takes 0.4 s (tiny), 1.4 s (base) and 3.4 s (small) in single precision; medium and large
    are for graphics cards, and share them with the painter.
    """
    profile = profile or profiles.choose(machine)
    return list({Role.SPEECH: profile.speech, Role.VOICE: profile.voice, Role.PAINT: profile.paint}[role])


def recommended(role: Role, machine: Hardware, profile: Profile | None = None) -> Model | None:
    """What is worth fetching for this machine; None where the built-in engine is all that it should run."""
    return next((CATALOGUE[name] for name in fitting(role, machine, profile)), None)


def candidates(
    role: Role, wish: str, looks: Mapping[str, Look], machine: Hardware, profile: Profile | None = None
) -> list[Candidate]:
    """What to run in this role, best first; the demo engine last, which always can.

    `wish`: the setting: `auto`, a demo engine, a name of the catalogue, or a folder. `looks`: what there is of each
    model of the catalogue. A candidate with a `problem` stands where it would be chosen if it had none. Where a painter
    was named, those follow that would paint without the name: a simpler picture is better than a poster.
    """
    profile = profile or profiles.choose(machine)
    demo = Candidate(role, DEMO[role], DEMO[role])
    if wish == DEMO[role]:
        return [demo]
    found = [looks[name] for name in fitting(role, machine, profile)]
    ranked = [_installed(seen) for seen in found if seen.state in (State.WHOLE, State.DAMAGED)]
    if wish != AUTO:
        known = wish in CATALOGUE and CATALOGUE[wish].role == role
        named = _installed(looks[wish]) if known else _folder(role, wish)
        others = [candidate for candidate in ranked if candidate.name != named.name]
        ranked = [named, *(others if role == Role.PAINT else [])]
    if role == Role.PAINT and profile.on_cpu:
        ranked = [edition for candidate in ranked for edition in _editions(candidate, profile)]
    return [*ranked, demo]


def _editions(candidate: Candidate, profile: Profile) -> list[Candidate]:
    """The editions of a paint model that the processor can run, the quicker first.

    Measured for one step on two cores with AMX: 0.6 s exported with OpenVINO, 1 s by torch in bfloat16, 2.8 s exported
    with ONNX Runtime, 4 s by torch in float32.
    """
    if candidate.problem or candidate.folder is None or not exported(candidate.folder):
        return [candidate]
    editions = [replace(candidate, engine=EXPORTED_ENGINE), candidate]
    torch_is_quicker = profile.small.dtype == "bfloat16" and importlib.util.find_spec("openvino") is None
    return editions[::-1] if torch_is_quicker else editions


def exported(folder: Path) -> bool:
    """Whether a model's folder has an export that is whole and of the model as it is now. Reads no weights."""
    try:
        manifest.read(folder)
    except EngineError:
        return False
    return True


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
