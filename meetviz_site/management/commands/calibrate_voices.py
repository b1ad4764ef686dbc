"""`manage.py calibrate_voices FOLDER`: measure the thresholds of a voice engine on recordings of known people."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from meetviz_site.known_voices import MIN_RECORDING_S, KnownVoices, LeftOut, Why, known_voices
from speakers.calibration import (
    ENOUGH_RECORDINGS_EACH,
    ENOUGH_SPEAKERS,
    Calibrated,
    Doubt,
    TooLittleToCalibrate,
    calibrate,
    forget_thresholds,
    thresholds_for,
)
from speakers.matching import Thresholds
from speakers.models import Calibration
from workers import registry
from workers.engines.base import EngineError


class Command(BaseCommand):
    help = (
        "Measure how well this machine's voice engine tells the people of FOLDER apart, and set the thresholds by that."
        " FOLDER holds one folder per person with recordings of any kind, ten people with five recordings or more."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="FOLDER")
        parser.add_argument("--voice", metavar="MODEL", help="as MEETVIZ_VOICE names it (default: what works here)")
        parser.add_argument("--dry-run", action="store_true", help="measure and print, change no threshold")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        if not folder.is_dir():
            raise CommandError(_("%(folder)s is not a folder.") % {"folder": folder})
        if options["voice"]:
            os.environ["MEETVIZ_VOICE"] = options["voice"]
        try:
            engine = registry.voice_engine()
            engine.load()
            model = engine.model
            if options["voice"] not in (None, "auto", engine.name, model) and engine.demo:
                problem = _("%(voice)s does not work on this machine (manage.py models list); it would be %(model)s.")
                raise CommandError(problem % {"voice": options["voice"], "model": model})
            found = known_voices(folder, engine, progress=self._progress)
        except EngineError as error:
            raise CommandError(str(error)) from error
        finally:
            registry.unload_all()
        left_out = [_without(one) for one in found.left_out]
        for sentence in left_out:
            self.stderr.write(sentence)
        try:
            calibrated = calibrate(found.material)
        except TooLittleToCalibrate:
            raise CommandError(_too_little(folder, found)) from None
        before = thresholds_for(model)
        if not options["dry_run"]:
            store(model, calibrated)
        doubts = [_explained(doubt, calibrated) for doubt in calibrated.doubts()]
        if options["json"]:
            answer = {"model": model, **as_json(calibrated), "before": asdict(before)}
            answer |= {"stored": not options["dry_run"], "warnings": doubts, "left_out": left_out}
            self.stdout.write(json.dumps(answer, ensure_ascii=False))
            return
        self.stdout.write("\n".join([model, *_table(calibrated), _thresholds(_("Thresholds"), calibrated.thresholds)]))
        self.stdout.write(_thresholds(_("Before"), before))
        for doubt in doubts:
            self.stderr.write(self.style.WARNING(doubt))
        if not options["dry_run"]:
            self.stdout.write(_("Stored; meetings use them within a minute."))

    def _progress(self, person: str) -> None:
        self.stderr.write(_("listening to %(person)s ...") % {"person": person})


def store(model: str, calibrated: Calibrated) -> None:
    """Make these the thresholds of the model, in place of those measured before."""
    Calibration.objects.update_or_create(
        model=model,
        defaults={
            **asdict(calibrated.thresholds),
            "figures": as_json(calibrated)["figures"],
            "speakers": calibrated.speakers,
            "recordings": calibrated.recordings,
            "measured_at": timezone.now(),
        },
    )
    forget_thresholds()


def as_json(calibrated: Calibrated) -> dict[str, Any]:
    """Thresholds, counts, and the error rates by seconds of speech."""
    return {
        "thresholds": asdict(calibrated.thresholds),
        "figures": {f"{rates.speech_s:g}": asdict(rates) for rates in calibrated.rates},
        "speakers": calibrated.speakers,
        "recordings": calibrated.recordings,
    }


def _table(calibrated: Calibrated) -> list[str]:
    heads = (
        _("speech"),
        _("pieces"),
        _("equal error rate"),
        _("known for another"),
        _("known for new"),
        _("known unsure"),
        _("new for known"),
        _("new unsure"),
    )
    rows = [heads]
    for rates in calibrated.rates:
        shares = (
            rates.eer,
            rates.known_taken_for_another,
            rates.known_taken_for_new,
            rates.known_unsure,
            rates.new_taken_for_known,
            rates.new_unsure,
        )
        rows.append((f"{rates.speech_s:g} s", str(rates.pieces), *(f"{share:.1%}" for share in shares)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _thresholds(title: str, thresholds: Thresholds) -> str:
    values = {"title": title, **asdict(thresholds)}
    return _("%(title)s: known from %(upper).3f, new below %(lower).3f, margin %(margin).2f") % values


def _without(left_out: LeftOut) -> str:
    """Why a file or a person is not in the figures."""
    if left_out.why is Why.UNREADABLE:
        return left_out.reason
    if left_out.why is Why.TOO_FEW:
        text = _("%(what)s is left out: two usable recordings are needed, there is %(number)d.")
    else:
        text = _("%(what)s is left out: it holds %(number).1f s of speech, %(least)d s are needed.")
    return text % {"what": left_out.what, "number": left_out.number, "least": MIN_RECORDING_S}


def _too_little(folder: Path, found: KnownVoices) -> str:
    return _(
        "%(folder)s holds usable recordings of %(count)d people; at least two people with two recordings of 2 s or"
        " more each are needed, each person in a folder of their own."
    ) % {"folder": folder, "count": found.speakers}


def _explained(doubt: Doubt, calibrated: Calibrated) -> str:
    numbers = {
        "speakers": calibrated.speakers,
        "recordings": calibrated.recordings,
        "enough_speakers": ENOUGH_SPEAKERS,
        "enough_recordings": ENOUGH_RECORDINGS_EACH,
    }
    if doubt is Doubt.FEW_SPEAKERS:
        return _("Only %(speakers)d people: with fewer than %(enough_speakers)d the figures are a guess.") % numbers
    if doubt is Doubt.FEW_RECORDINGS:
        return (
            _("Only %(recordings)d recordings: %(enough_recordings)d of each person or more say how a voice varies.")
            % numbers
        )
    return _("These voices are hardly told apart. Is each person in one folder only, and the sound good?")
