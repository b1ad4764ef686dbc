"""What this machine can do, found out by trying; what it should therefore run; what that gives in seconds.

The outcome is stored (`workers.tested`) and every worker of this home goes by it. Nothing here needs a database, and
every try that could hang or crash happens in another process with a time limit.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import probes, registry, tested
from workers.diagnosis import Clip, Hearing, Painting, Problem, Report, word_errors, words_of
from workers.engines.base import Engine, EngineError, Painter, SpeechEngine
from workers.engines.paint.diffusion.precision import check_settings
from workers.engines.paint.settings import PaintSettings
from workers.environment import setting
from workers.faults import described
from workers.hardware import Hardware, probe
from workers.messages import PaintRequest, Scene, Thing
from workers.models import store
from workers.models.catalogue import CATALOGUE, Family, Role
from workers.models.choice import AUTO, SETTING, Candidate, candidates, recommended
from workers.profiles import PROFILES, Profile
from workers.tested import Findings

DEVICE_WITHIN_S = 40.0
"""A first kernel on a card takes seconds, importing torch on two slow cores ten."""
STEP_WITHIN_S = 60.0
LIBRARIES = ("torch", "diffusers", "transformers", "onnxruntime", "openvino", "faster-whisper", "ctranslate2")
_PROMPT = "a wooden bridge over a river, tall trees, a small red house"

Ask = Callable[..., dict[str, Any]]
"""`probes.ask`, or what a test answers in its place."""
Make = Callable[[Candidate], Engine]
"""Makes an engine in a process of its own without loading it."""


def examine(
    clip: Clip | None,
    *,
    machine: Hardware | None = None,
    ask: Ask = probes.ask,
    make_painter: Make | None = None,
    make_speech: Make | None = None,
    say: Callable[[str], None] = lambda _stage: None,
) -> Report:
    """Look, try, decide, measure, and store. `say` hears which stage begins: `devices`, `step`, `picture`, `speech`."""
    machine = machine or probe()
    say("devices")
    found = _try_devices(machine, ask)
    wish, device, dtype = tested.profile_settings()
    really = tested.adjusted(machine, found)
    profile = tested.profile_of(really, wish, device, dtype)
    problems = [*_settings_problems(wish, device, dtype), *_device_problems(machine, found), *_model_problems()]
    say("step")
    step = _time_step(profile, ask)
    if really.bfloat16 and profile.on_cpu and "step_ms" in step and not dtype:
        single = ask("step", "cpu", "float32", str(profile.small.threads), within_s=STEP_WITHIN_S)
        if single.get("step_ms", float("inf")) < step["step_ms"]:
            found, step = _replaced(found, bfloat16_helps=False), single
            really = tested.adjusted(machine, found)
            profile = tested.profile_of(really, wish, device, dtype)
    report = Report(machine, libraries(), _installed(), found, profile.name, profile.why, problems=problems)
    say("picture")
    _paint(report, really, profile, step, make_painter or registry.make_painter)
    if clip is not None:
        say("speech")
        _hear(report, really, profile, clip, make_speech or registry.make_speech)
    report.findings = _replaced(
        found,
        profile=profile.name,
        step_ms=step.get("step_ms"),
        picture_s=report.painting.picture_s if report.painting else None,
        caption_s=report.hearing.caption_s if report.hearing else None,
    )
    try:
        report.file = str(tested.write(report.findings))
    except OSError as error:
        values = {"file": str(tested.profile_file()), "error": error.strerror or type(error).__name__}
        report.problems.append(Problem("not_stored", values))
    return report


def libraries() -> dict[str, str]:
    """Versions of what computes; empty where it is missing. Imports none of them."""

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return ""

    return {name: version(name) for name in LIBRARIES}


def _replaced(found: Findings, **values: Any) -> Findings:
    return dataclasses.replace(found, **values)


def _installed() -> list[str]:
    return [name for name, model in CATALOGUE.items() if store.look(model).state == store.State.WHOLE]


# Trying


def _try_devices(machine: Hardware, ask: Ask) -> Findings:
    names = [f"cuda:{card.index}" for card in machine.cuda] + (["mps"] if machine.mps else [])
    answers = {name: ask("device", name, within_s=DEVICE_WITHIN_S) for name in names}
    return Findings(
        fingerprint=tested.fingerprint(machine),
        at=time.time(),
        devices={name: str(answer.get("state", probes.FAILED)) for name, answer in answers.items()},
        half_precision={name: str(answer["half"]) for name, answer in answers.items() if "half" in answer},
    )


def _time_step(profile: Profile, ask: Ask) -> dict[str, Any]:
    """Times of SD 1.5's step and tiny decode on the profile's device; empty where they cannot be had."""
    device = profile.small.device if profile.small.device != "auto" else "cpu"
    dtype = profile.small.dtype if profile.small.dtype != "auto" else "float32"
    if not registry.painting_possible() or not profile.paint:
        return {}
    layout = ["channels_last"] if profile.small.channels_last else []
    answer = ask("step", device, dtype, str(profile.small.threads or 1), *layout, within_s=STEP_WITHIN_S)
    return answer if "step_ms" in answer else {}


# Painting


def _paint(report: Report, machine: Hardware, profile: Profile, step: dict[str, Any], make: Make) -> None:
    ranked = _ranked(Role.PAINT, machine, profile)
    report.problems += _wish_problems(Role.PAINT, ranked)
    chosen = next(candidate for candidate in ranked if not candidate.problem)
    if not chosen.demo and not registry.painting_possible():
        report.problems.append(Problem("libraries_missing", {"model": chosen.name}))
        chosen = ranked[-1]
    report.painting = _paint_with(chosen, profile, make, report.problems)
    if not chosen.demo:
        return
    worth = recommended(Role.PAINT, machine, profile)
    if worth is None:
        return
    if not registry.painting_possible():
        report.problems.append(Problem("libraries_missing", {"model": worth.name}, broken=False))
        return
    settings = profile.settings_for(worth.name)
    report.could_paint = Painting(
        worth.engine,
        worth.name,
        settings.device,
        settings.dtype,
        steps=settings.steps,
        width_px=settings.width_px,
        height_px=settings.height_px,
        picture_s=expected_picture_s(worth.family, settings, step),
        measured=False,
    )
    free = _free_bytes()
    if free < worth.size_bytes:
        values = {"model": worth.name, "gb": f"{worth.size_bytes / 1e9:.1f}", "free_gb": f"{free / 1e9:.1f}"}
        report.problems.append(Problem("disk_small", values, broken=False))


def expected_picture_s(family: Family | None, settings: PaintSettings, step: dict[str, Any]) -> float | None:
    """Seconds a picture from SD 1.5's step: other UNets by their numbers of operations, the decoder by the pixels."""
    if "step_ms" not in step or family is None:
        return None
    step_ms = step["step_ms"] * probes.STEP_GFLOP[str(family)] / probes.STEP_GFLOP[str(Family.SD15)]
    decode_ms = step["decode_ms"] * settings.width_px * settings.height_px / (512 * 512)
    if family == Family.SDXL and settings.width_px * settings.height_px <= 512 * 512:
        step_ms *= probes.SDXL_512_SHARE
    return float((settings.steps * step_ms + decode_ms) / 1000)


def _paint_with(chosen: Candidate, profile: Profile, make: Make, problems: list[Problem]) -> Painting:
    """Paint with it, twice: the first picture allocates, chooses algorithms, perhaps compiles, and teaches the painter
    what fits a deadline."""
    settings = PaintSettings(device="cpu") if chosen.demo else registry.paint_settings(chosen, profile)
    painting = Painting(chosen.engine, chosen.name, settings.device, settings.dtype, chosen.demo)
    engine: Engine | None = None
    try:
        engine = make(chosen)
        assert isinstance(engine, Painter)
        start = time.perf_counter()
        engine.load()
        painting.load_s = round(time.perf_counter() - start, 2)
        for _ in range(2):
            start = time.perf_counter()
            painted = engine.paint(_request())
            painting.picture_s = round(time.perf_counter() - start, 3)
        painting.device = engine.facts().device
        painting.steps = painted.steps
        painting.width_px, painting.height_px = painted.image.size
        painting.stages_ms = {stage: round(ms, 1) for stage, ms in painted.timings_ms.items()}
    except Exception as error:
        problems.append(_failure("painter_failed", chosen, error))
    finally:
        if engine is not None:
            engine.unload()
    return painting


def _request() -> PaintRequest:
    things = [Thing("bridge", "bridge"), Thing("trees", "tree"), Thing("house", "house")]
    return PaintRequest("doctor", 0, _PROMPT, "", Scene("a bridge over the river", things), 1)


# Hearing


def _hear(report: Report, machine: Hardware, profile: Profile, clip: Clip, make: Make) -> None:
    ranked = _ranked(Role.SPEECH, machine, profile)
    report.problems += _wish_problems(Role.SPEECH, ranked)
    chosen = next(candidate for candidate in ranked if not candidate.problem)
    report.hearing = hearing = Hearing(chosen.engine, chosen.name)
    engine: Engine | None = None
    try:
        engine = make(chosen)
        assert isinstance(engine, SpeechEngine)
        start = time.perf_counter()
        engine.load()
        hearing.load_s = round(time.perf_counter() - start, 2)
        # Caches and memory are warm from the second utterance on, as in a meeting.
        engine.transcribe(clip.samples, clip.language)
        start = time.perf_counter()
        heard = engine.transcribe(clip.samples, clip.language)
        hearing.caption_s = round(time.perf_counter() - start, 3)
        spoken = words_of(clip.text)
        hearing.words, hearing.errors = len(spoken), word_errors(spoken, words_of(heard.text))
        if hearing.errors * 2 > hearing.words:
            values = {"model": chosen.name, "errors": str(hearing.errors), "words": str(hearing.words)}
            report.problems.append(Problem("hears_badly", values))
    except Exception as error:
        report.problems.append(_failure("speech_failed", chosen, error))
    finally:
        if engine is not None:
            engine.unload()


# What is wrong


def _ranked(role: Role, machine: Hardware, profile: Profile) -> list[Candidate]:
    looks = {name: store.look(model) for name, model in CATALOGUE.items() if model.role == role}
    return candidates(role, setting(SETTING[role], AUTO), looks, machine, profile)


def _wish_problems(role: Role, ranked: list[Candidate]) -> list[Problem]:
    """A model that the settings name and that cannot be used; damaged ones are told of elsewhere."""
    first = ranked[0]
    if setting(SETTING[role], AUTO) == AUTO or not first.problem:
        return []
    return [Problem("wish_unmet", {"setting": SETTING[role], "name": first.name, "problem": first.problem})]


def _settings_problems(wish: str, device: str, dtype: str) -> list[Problem]:
    found = []
    if wish and wish not in PROFILES:
        found.append(Problem("unknown_profile", {"profile": wish, "known": ", ".join(PROFILES)}))
    try:
        check_settings(PaintSettings(device=device or "auto", dtype=dtype or "auto"))
    except EngineError as error:
        found.append(Problem("bad_paint_setting", {"problem": str(error)}))
    return found


def _device_problems(machine: Hardware, found: Findings) -> list[Problem]:
    names = {f"cuda:{card.index}": card.name for card in machine.cuda} | {"mps": "Metal"}
    return [
        Problem(
            "torch_without_device" if state == probes.NO_SUPPORT else "device_fails",
            {"device": name, "name": names[name], "state": state, "torch": tested.torch_version() or "-"},
            broken=False,
        )
        for name, state in found.devices.items()
        if state != probes.WORKS
    ]


def _model_problems() -> list[Problem]:
    """Models that lie here and are not whole."""
    looks = [store.look(model) for model in CATALOGUE.values()]
    return [
        Problem("model_damaged", {"model": seen.model.name, "problem": seen.problem})
        for seen in looks
        if seen.state == store.State.DAMAGED
    ]


def _failure(code: str, chosen: Candidate, error: Exception) -> Problem:
    why = str(error) if isinstance(error, EngineError) else described(error)
    return Problem(code, {"model": chosen.name, "engine": chosen.engine, "problem": why})


def _free_bytes() -> int:
    folder: Path = store.models_dir()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
