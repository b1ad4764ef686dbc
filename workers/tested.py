"""What `manage.py doctor` found out about this machine, kept in MEETVIZ_HOME, and the profile that follows from it.

`profile.json` holds for the hardware that it was made on: with another card, or another build of torch, it is left
alone and the profile follows from the hardware's names again, as on a machine where the doctor never ran.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers import profiles
from workers.environment import setting
from workers.hardware import Hardware, probe
from workers.models.store import write_safely
from workers.profiles import PROFILES, Profile

log = logging.getLogger("meetviz.workers")

FILE = "profile.json"
VERSION = 1
WORKS = "works"
_CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Findings:
    """Outcome of the probes. All of it can be spelled in JSON."""

    fingerprint: dict[str, Any]
    """Of the hardware and of torch: what these findings hold for."""
    at: float
    devices: dict[str, str] = field(default_factory=dict)
    """`cuda:0`, `mps`, `cpu`: `works`, or why torch cannot use it (`no_support`, `failed`, `timeout`)."""
    half_precision: dict[str, str] = field(default_factory=dict)
    """Of the devices that work: `works`, `nan`, `wrong` or `failed`."""
    bfloat16_helps: bool = True
    """Whether a step on the processor takes less time in bfloat16 than in float32; where both were timed."""
    profile: str = ""
    """The profile that follows, and what was measured with it: for people, nothing is decided by these."""
    step_ms: float | None = None
    picture_s: float | None = None
    caption_s: float | None = None


def home_dir() -> Path:
    return Path(setting("MEETVIZ_HOME", str(_CHECKOUT / "var"))).expanduser().absolute()


def profile_file() -> Path:
    return home_dir() / FILE


def fingerprint(machine: Hardware) -> dict[str, Any]:
    """What must be the same for findings to hold."""
    return {
        "system": machine.system,
        "machine": machine.machine,
        "processor": machine.processor,
        "cores": machine.cores,
        "memory_gb": round(machine.memory_mb / 1024),
        "cards": [[card.name, *card.capability, round(card.memory_mb / 1024)] for card in machine.cuda],
        "mps": machine.mps,
        "torch": torch_version(),
    }


def torch_version() -> str:
    """With its build (`2.13.0+cpu`); empty where it is not installed. Does not import it."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def read(file: Path | None = None) -> Findings | None:
    """What was stored, whatever hardware it was for; None where there is nothing that can be read."""
    try:
        values = json.loads((file or profile_file()).read_text(encoding="utf-8"))
        if values.pop("version") != VERSION:
            return None
        return Findings(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write(tested: Findings) -> Path:
    """Store it for the workers of this home. Raises OSError."""
    file = profile_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safely(file, json.dumps({"version": VERSION, **dataclasses.asdict(tested)}, indent=1) + "\n")
    return file


def adjusted(machine: Hardware, tested: Findings | None) -> Hardware:
    """The machine as it really is: without devices that torch cannot use, without half precision where it fails.

    Findings of another machine change nothing.
    """
    if tested is None or tested.fingerprint != fingerprint(machine):
        return machine
    cards = tuple(
        replace(card, half_precision_fails=tested.half_precision.get(f"cuda:{card.index}", WORKS) != WORKS)
        for card in machine.cuda
        if tested.devices.get(f"cuda:{card.index}", WORKS) == WORKS
    )
    return replace(
        machine,
        cuda=cards,
        mps=machine.mps and tested.devices.get("mps", WORKS) == WORKS,
        bfloat16=machine.bfloat16 and tested.bfloat16_helps,
    )


def profile_of(machine: Hardware, wish: str = "", device: str = "", dtype: str = "") -> Profile:
    """The profile for a machine and the settings. A wish that is no profile counts as none."""
    profile = profiles.named(wish, machine) if wish in PROFILES else profiles.choose(machine)
    return profiles.with_overrides(profile, device, dtype)


_cached: tuple[Any, Profile, Hardware] | None = None


def current_profile() -> Profile:
    """The profile that this host works by now. Cheap: what it follows from is looked at, not computed anew."""
    return _current()[0]


def current_machine() -> Hardware:
    """This machine, without what the doctor found not to work."""
    return _current()[1]


def _current() -> tuple[Profile, Hardware]:
    global _cached
    file = profile_file()
    try:
        stamp = file.stat().st_mtime_ns
    except OSError:
        stamp = 0
    wish, device, dtype = profile_settings()
    key = (wish, device, dtype, str(file), stamp)
    cached = _cached
    if cached is not None and cached[0] == key:
        return cached[1], cached[2]
    tested = read(file) if stamp else None
    machine = probe()
    really = adjusted(machine, tested)
    if tested is not None and tested.fingerprint != fingerprint(machine):
        log.warning("%s is of other hardware and is not used: run manage.py doctor", FILE)
    if wish and wish not in PROFILES:
        log.warning("MEETVIZ_PROFILE must be one of %s: it is chosen by the hardware instead", ", ".join(PROFILES))
    profile = profile_of(really, wish, device, dtype)
    _cached = (key, profile, really)
    log.info("profile=%s", profile.name)
    return profile, really


def profile_settings() -> tuple[str, str, str]:
    """What is set: profile, device and precision for painting; empty where it is not."""
    wish = setting("MEETVIZ_PROFILE")
    return "" if wish == "auto" else wish, setting("MEETVIZ_PAINT_DEVICE"), setting("MEETVIZ_PAINT_DTYPE")
