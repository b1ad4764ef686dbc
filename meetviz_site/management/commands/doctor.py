"""`manage.py doctor`: what this machine can do, what it will therefore run, and how quick that is."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from meetviz_site.live.audio_file import AudioFileError, read_audio
from workers import doctor
from workers.diagnosis import Clip, Hearing, Painting, Problem, Report
from workers.hardware import Hardware
from workers.messages import SAMPLE_RATE_HZ
from workers.profiles import Reason

_DEMO = Path(__file__).resolve().parents[3] / "meetings" / "demo"
_LINE = 3
"""Of the shipped dialogue the line that is played: "Yes, a small wooden bridge. Children can stand on …"."""


class Command(BaseCommand):
    help = "Try what this machine can do, choose a hardware profile, and say how quick pictures and captions will be."
    # Neither database nor server is needed.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print everything as JSON and nothing else")

    def handle(self, *_args: Any, **options: Any) -> None:
        started = time.monotonic()
        report = doctor.examine(spoken_clip(), say=(lambda _stage: None) if options["json"] else self._say)
        if options["json"]:
            values = dataclasses.asdict(report) | {"broken": report.broken}
            self.stdout.write(json.dumps(values, indent=1, ensure_ascii=False, default=str))
        else:
            for line in lines_of(report, time.monotonic() - started):
                self.stdout.write(line)
        if report.broken:
            sys.exit(1)

    def _say(self, stage: str) -> None:
        self.stderr.write(
            {
                "devices": _("Trying the graphics cards …"),
                "step": _("Timing a step …"),
                "picture": _("Painting …"),
                "speech": _("Listening …"),
            }[stage]
        )


def spoken_clip() -> Clip | None:
    """One line of the shipped dialogue; None where its sound cannot be read."""
    try:
        line = json.loads((_DEMO / "dialogue.json").read_text(encoding="utf-8"))["lines"][_LINE]
        samples = read_audio(_DEMO / "dialogue.opus")
    except (AudioFileError, OSError, ValueError, KeyError, IndexError):
        return None
    first, last = (int(line[edge] * SAMPLE_RATE_HZ) for edge in ("start_s", "end_s"))
    return Clip(samples[first:last].astype(np.float32) / 32768.0, line["text"])


def lines_of(report: Report, taken_s: float) -> list[str]:
    """The report for people."""
    lines = ["", _("What is here"), *_indented(_machine_lines(report.machine))]
    lines += _indented([_libraries(report.libraries), _devices(report)])
    installed = ", ".join(report.installed) or _("none")
    lines += _indented([_("models: %(names)s") % {"names": installed}])
    lines += ["", _("Profile: %(profile)s") % {"profile": report.profile}, *_indented(map(_reason, report.why))]
    lines += ["", _("What that gives")]
    if report.painting:
        lines += _indented([_painting(report.painting)])
    if report.could_paint:
        lines += _indented([_could_paint(report.could_paint)])
    if report.hearing:
        lines += _indented([_hearing(report.hearing)])
    broken = [problem for problem in report.problems if problem.broken]
    notes = [problem for problem in report.problems if not problem.broken]
    if notes:
        lines += ["", _("Worth knowing"), *_indented(map(_problem, notes))]
    if broken:
        lines += ["", _("Broken"), *_indented(map(_problem, broken))]
    lines.append("")
    if report.file:
        lines.append(_("Stored for the workers in %(file)s") % {"file": report.file})
    lines.append(_("It took %(s).0f s.") % {"s": taken_s})
    return lines


def _indented(lines: Any) -> list[str]:
    return [f"  {line}" for line in lines if line]


def _machine_lines(machine: Hardware) -> list[str]:
    cores = ngettext("%(n)d core", "%(n)d cores", machine.cores) % {"n": machine.cores}
    memory = _("%(gb).0f GB of memory") % {"gb": machine.memory_mb / 1024}
    units = _("bfloat16") if machine.bfloat16 else ""
    parts = [f"{machine.system} {machine.machine}", machine.processor, cores, memory, units]
    lines = [", ".join(part for part in parts if part)]
    lines += [
        _("card: %(name)s, %(gb).0f GB, capability %(major)d.%(minor)d")
        % {
            "name": card.name,
            "gb": card.memory_mb / 1024,
            "major": card.capability[0],
            "minor": card.capability[1],
        }
        for card in machine.cuda
    ]
    if machine.mps:
        lines.append(_("graphics: Metal"))
    return lines


def _libraries(libraries: dict[str, str]) -> str:
    return ", ".join(f"{name} {version or '–'}" for name, version in libraries.items())


def _devices(report: Report) -> str:
    tried = report.findings
    parts = [f"{name}: {state}" for name, state in tried.devices.items()]
    parts += [f"float16 {name}: {state}" for name, state in tried.half_precision.items()]
    return ", ".join(parts)


def _painting(painting: Painting) -> str:
    size = f"{painting.width_px} × {painting.height_px}"
    values = {
        "model": painting.model,
        "engine": painting.engine,
        "device": painting.device,
        "size": size,
        "s": painting.picture_s or 0.0,
    }
    if painting.picture_s is None:
        return _("pictures: %(model)s does not paint") % values
    if painting.demo:
        return _("pictures: the built-in %(model)s, %(size)s, %(s).2f s each") % values
    text = ngettext(
        "pictures: %(model)s (%(engine)s on %(device)s), %(size)s, %(n)d step, %(s).2f s each",
        "pictures: %(model)s (%(engine)s on %(device)s), %(size)s, %(n)d steps, %(s).2f s each",
        painting.steps,
    )
    return text % (values | {"n": painting.steps})


def _could_paint(painting: Painting) -> str:
    values = {"model": painting.model, "s": painting.picture_s or 0.0}
    if painting.picture_s is None:
        return _("real pictures: manage.py models pull %(model)s") % values
    return _("real pictures, about %(s).1f s each: manage.py models pull %(model)s") % values


def _hearing(hearing: Hearing) -> str:
    if hearing.caption_s is None:
        return _("captions: %(model)s does not hear") % {"model": hearing.model}
    text = ngettext(
        "captions: %(model)s, %(s).2f s each, %(errors)d of %(n)d word wrong",
        "captions: %(model)s, %(s).2f s each, %(errors)d of %(n)d words wrong",
        hearing.words,
    )
    return text % {
        "model": hearing.model,
        "s": hearing.caption_s,
        "errors": hearing.errors,
        "n": hearing.words,
    }


def _reason(reason: Reason) -> str:
    texts = {
        "asked_for": _("%(setting)s says so."),
        "card_large": _("%(card)s has %(gb)s GB: room for SDXL, 1024 × 1024."),
        "card_small": _("%(card)s has %(gb)s GB: room for SD 1.5, 512 × 512; SDXL needs 12 GB to be quick."),
        "no_half_precision": _(
            "%(card)s is not to be trusted in half precision: weights rest in it, arithmetic is in single precision."
        ),
        "half_precision_fails": _(
            "%(card)s computed nonsense in half precision when it was tried: arithmetic is in single precision."
        ),
        "text_on_processor": _("Its memory is small: prompts are read by the processor."),
        "metal": _("Metal shares %(gb)s GB with everything else: SD 1.5, 512 × 512, in half precision."),
        "no_card": _("No graphics card that is large enough and works: the processor paints."),
        "quick_processor": _("It is quick enough for four steps of SD 1.5 (cores: %(cores)s)."),
        "slow_processor": _("Four steps of SD 1.5 would take too long (cores: %(cores)s): one step of a small model."),
        "bfloat16": _("It multiplies bfloat16 by itself, which halves the time."),
        "single_precision": _(
            "It computes in single precision; an exported model is quicker (manage.py models export)."
        ),
        "too_small": _("Cores: %(cores)s, memory: %(gb)s GB. That is too little for a paint model."),
    }
    return texts[reason.code] % reason.values


def _problem(problem: Problem) -> str:
    texts = {
        "unknown_profile": _("MEETVIZ_PROFILE is %(profile)s; it must be one of %(known)s. Set it right or unset it."),
        "bad_paint_setting": _("MEETVIZ_PAINT_DEVICE or MEETVIZ_PAINT_DTYPE: %(problem)s"),
        "wish_unmet": _("%(setting)s names %(name)s, which cannot be used: %(problem)s."),
        "model_damaged": _("%(model)s is damaged (%(problem)s). Mend with: manage.py models pull %(model)s"),
        "libraries_missing": _(
            "torch, diffusers and transformers are needed for %(model)s: pip install -r requirements.lock"
        ),
        "torch_without_device": _(
            "torch %(torch)s cannot use %(name)s: install the build of torch for it (pytorch.org), and a driver that"
            " is new enough."
        ),
        "device_fails": _("%(name)s does not work with torch (%(state)s): look at its driver and what else uses it."),
        "painter_failed": _("%(model)s does not paint: %(problem)s"),
        "speech_failed": _("%(model)s does not hear: %(problem)s"),
        "hears_badly": _(
            "%(model)s got %(errors)s of %(words)s words of a known sentence wrong: manage.py models verify, or take"
            " another model."
        ),
        "disk_small": _("%(model)s needs %(gb)s GB, and the disk has %(free_gb)s GB left."),
        "not_stored": _("%(file)s cannot be written: %(error)s. Workers go by the hardware's names instead."),
    }
    return texts[problem.code] % problem.values
