"""How well this machine's voice engine tells people apart: by itself, and as the product decides whose voice it is.

Error rates are those of `manage.py calibrate_voices` (speakers/calibration.py says how they are measured), but with the
thresholds that are shipped. Recordings of real people are taken from `../shared/speech/librispeech` where that is;
else the three synthetic voices of the shipped dialogue have to do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import soundfile

from meetviz_site.known_voices import known_voices
from speakers.calibration import CONSERVATIVE, ErrorRates, error_rates, open_set_trials
from speakers.matching import THRESHOLDS
from tests import sounds
from tests.bench.figures import Figure
from tests.sites import ROOT
from workers import registry

RECORDINGS = ROOT.parent / "shared" / "speech" / "librispeech"
TARGETS = {3.0: 1.5}
"""Percent, by seconds of speech."""
DECIDED_AT_S = 3.0


def run() -> list[Figure]:
    if RECORDINGS.is_dir():
        return _figures(RECORDINGS, "LibriSpeech")
    print(f"skipped, no recordings: there is no {RECORDINGS}; the shipped dialogue's voices instead")
    with tempfile.TemporaryDirectory(prefix="meetviz-bench-") as folder:
        _dialogue_by_speaker(Path(folder))
        return _figures(Path(folder), "skipped, no recordings: the shipped dialogue")


def _figures(folder: Path, source: str) -> list[Figure]:
    engine = registry.voice_engine()
    try:
        engine.load()
        material = known_voices(folder, engine).material
        model = engine.model
    finally:
        del engine
        registry.unload_all()
    people = len({piece.speaker for piece in material.enrolment})
    note = f"{model}, {source}: {people} voices, {len(material.enrolment)} recordings"
    rates = [error_rates(trials, THRESHOLDS.get(model, CONSERVATIVE)) for trials in open_set_trials(material)]
    return [*(_equal(each, note) for each in rates), *_decided(rates, note)]


def _equal(rates: ErrorRates, note: str) -> Figure:
    name = f"eer_{rates.speech_s:g}s"
    text = f"pieces of {rates.speech_s:g} s against each other; {note}"
    return Figure(name, round(100 * rates.eer, 2), "%", "lower", TARGETS.get(rates.speech_s), rates.pieces, text)


def _decided(rates: list[ErrorRates], note: str) -> list[Figure]:
    """What the product decides about 3 s of speech against voiceprints of 10 s."""
    found = []
    for each in rates:
        if each.speech_s != DECIDED_AT_S:
            continue
        for name in ("known_taken_for_new", "known_taken_for_another", "known_unsure", "new_taken_for_known"):
            text = f"{each.speech_s:g} s against voiceprints of 10 s, shipped thresholds; {note}"
            found.append(Figure(name, round(100 * getattr(each, name), 2), "%", "lower", None, each.pieces, text))
    return found


def _dialogue_by_speaker(folder: Path) -> None:
    for number, line in enumerate(sounds.lines()):
        (folder / line.speaker).mkdir(exist_ok=True)
        soundfile.write(folder / line.speaker / f"{number}.wav", sounds.spoken(number), sounds.RATE_HZ)
