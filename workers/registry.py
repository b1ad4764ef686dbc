"""Which engines this host runs: chosen by the environment and by what is installed, changed without a restart."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.engines.base import Engine, Painter, SpeechEngine, VoiceEngine
from workers.engines.paint.settings import PaintSettings
from workers.environment import setting
from workers.faults import described
from workers.hardware import probe
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, EngineFacts, ModelOffer
from workers.models import store
from workers.models.catalogue import CATALOGUE, Model, Role
from workers.models.choice import AUTO, EXPORTED_ENGINE, Candidate, recommended
from workers.models.licences import is_accepted
from workers.models.paint_kind import family_of
from workers.painter_place import PainterPlace
from workers.places import Place
from workers.profiles import Profile, best_card
from workers.tested import current_machine, current_profile

log = logging.getLogger("meetviz.workers")

LOAD_WITHIN_S = 120.0
"""For a model (3 GB from a slow disk) and for every call."""
PAINT_WITHIN_S = 300.0
"""The same for a painter: 7 GB from a slow disk, or a minute of compiling and a picture on a slow processor."""
WAIT_WITHIN_S = 10.0
"""How long a picture waits for its model before something else paints it: the usual deadline of a request."""
PICTURE_MB = 1_500
"""What painting a picture needs beside the weights, about."""
DISK_SPARE_BYTES = 2_000_000_000
"""What must be left on the disk when a painter was fetched: pictures have to be stored, too."""
on_change: list[Callable[[], None]] = []
"""Called, from any thread, when another engine is at work."""


def make_speech(candidate: Candidate) -> Engine:
    """An engine that hears, in a process of its own; nothing is loaded yet."""
    from workers.engines.child import hosted

    if candidate.demo:
        from workers.engines.speech.pocketsphinx import PocketSphinxEngine

        # It holds the GIL while it decodes: in a child of its own, or every socket of this process would stand still.
        return hosted(PocketSphinxEngine)
    from workers.engines.speech.whisper import WhisperEngine

    # CTranslate2's own choice is four threads.
    threads = min(4, probe().cores)
    return hosted(WhisperEngine, {"folder": str(candidate.folder)}, threads=threads, timeout_s=LOAD_WITHIN_S)


def _make_voice(candidate: Candidate) -> Engine:
    from workers.engines.child import hosted

    if candidate.demo:
        from workers.engines.voice.resemblyzer import ResemblyzerEngine

        # One BLAS thread, which only a process of its own can have: on busy cores more of them spin against each other.
        return hosted(ResemblyzerEngine)
    from workers.engines.voice.ecapa import EcapaEngine

    # Beside the words, which are decoded at the same time.
    threads = 1 if probe().cores < 4 else 2
    return hosted(EcapaEngine, {"folder": str(candidate.folder)}, threads=threads, timeout_s=LOAD_WITHIN_S)


def make_painter(candidate: Candidate) -> Engine:
    """A painter; all but the poster in a process of their own. Nothing is loaded yet."""
    from workers.engines.child import hosted

    if candidate.demo:
        from workers.engines.paint.poster import PosterPainter

        return PosterPainter()
    settings = paint_settings(candidate)
    options = {"folder": str(candidate.folder), "settings": dataclasses.asdict(settings)}
    # Beside the sockets of a laptop, and beside the words: one graphics library that dies must not take them along.
    threads = settings.threads or probe().cores
    if candidate.engine == EXPORTED_ENGINE:
        from workers.engines.paint.exported.painter import ExportedPainter

        return hosted(ExportedPainter, options, threads=threads, timeout_s=PAINT_WITHIN_S)
    from workers.engines.paint.diffusion.painter import DiffusersPainter

    return hosted(DiffusersPainter, options, threads=threads, timeout_s=PAINT_WITHIN_S)


def paint_settings(candidate: Candidate, profile: Profile | None = None) -> PaintSettings:
    """How this host runs a paint model: by its profile, and by the model's family where it is somebody's own folder."""
    profile = profile or current_profile()
    if candidate.name in CATALOGUE and CATALOGUE[candidate.name].role == Role.PAINT:
        return profile.settings_for(candidate.name)
    family = None
    if candidate.folder is not None:
        with contextlib.suppress(ValueError):  # the painter says what is wrong with the folder
            family = family_of(candidate.folder)
    return profile.settings_for(None, family)


def _fit_together(old: Candidate, new: Candidate) -> bool:
    """Whether two paint models can be in memory at once. By their weights on the disk, which are in half precision."""
    profile = current_profile()
    card = None if profile.on_cpu else best_card(current_machine())
    room_mb = card.memory_mb if card else current_machine().memory_mb // 2
    # In single precision, and on the processor in any, weights may take twice their size on the disk.
    growth = 1 if card and profile.small.dtype == "float16" else 2
    weights_mb = sum(_weights_mb(candidate.folder) for candidate in (old, new) if candidate.folder)
    return weights_mb * growth + 2 * PICTURE_MB <= room_mb


def _weights_mb(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors") if file.is_file()) // 2**20


def _speech_wish() -> str:
    return setting("MEETVIZ_SPEECH", AUTO)


def _voice_wish() -> str:
    return setting("MEETVIZ_VOICE", AUTO)


def _painter_wish() -> str:
    return setting("MEETVIZ_PAINTER", AUTO)


def _tell() -> None:
    for callback in on_change:
        callback()


_speech = Place(Role.SPEECH, _speech_wish, make_speech, _tell)
_voice = Place(Role.VOICE, _voice_wish, _make_voice, _tell)
_painter = PainterPlace(_painter_wish, make_painter, _tell, _fit_together)


def speech_engine() -> SpeechEngine:
    """The engine that hears; keep it only as long as one utterance."""
    return _speech.hold()  # type: ignore[return-value]


def voice_engine() -> VoiceEngine:
    """The engine that tells voices apart; keep it only as long as one utterance."""
    return _voice.hold()  # type: ignore[return-value]


def painter(model: str = "", within_s: float | None = WAIT_WITHIN_S) -> Painter:
    """The painter with this model of the catalogue (empty: what the settings and the profile say); keep it only as long
    as one picture.

    Another model than the last is loaded first. Where that takes longer than `within_s` (None: as long as it takes),
    what is at hand paints instead, and its pictures have `other_model` among their compromises.
    """
    return _painter.hold(model, within_s)  # type: ignore[return-value]


def load(queue: str) -> None:
    """Load the engines behind a queue, so that the first request need not wait. What fails is logged."""
    makers: dict[str, list[Callable[[], Any]]] = {
        QUEUE_SPEECH: [speech_engine, voice_engine],
        QUEUE_PAINT: [lambda: painter(within_s=None)],
    }
    for engine in makers.get(queue, []):
        try:
            engine().load()
        except Exception as error:
            log.warning("an engine did not load: %s", described(error))


def facts(queue: str) -> dict[str, EngineFacts]:
    """What works behind a queue, by role; does not wait for anything."""
    if queue == QUEUE_SPEECH:
        return {"speech": _speech.facts(), "voice": _voice.facts()}
    if queue == QUEUE_PAINT:
        painting = _painter.facts()
        painting.profile = painting.profile or current_profile().name
        return {"paint": painting}
    return {}


def refresh(queue: str) -> None:
    """See whether what is installed has changed, and change engines accordingly, beside the work. Cheap."""
    if queue == QUEUE_SPEECH:
        _speech.refresh()
        _voice.refresh()
    elif queue == QUEUE_PAINT:
        _painter.refresh()


def installed(queue: str) -> list[str]:
    """The models of the catalogue that this host's painter can change to."""
    if queue != QUEUE_PAINT:
        return []
    paint_models = [model for model in CATALOGUE.values() if model.role == Role.PAINT]
    return [model.name for model in paint_models if store.look(model).state == store.State.WHOLE]


def offers(queue: str) -> list[ModelOffer]:
    """Real models in place of demo engines that this host could fetch and run well."""
    if store.fetching_forbidden():
        return []
    roles: dict[str, list[tuple[Role, Place, str]]] = {
        QUEUE_SPEECH: [(Role.SPEECH, _speech, _speech_wish()), (Role.VOICE, _voice, _voice_wish())],
        QUEUE_PAINT: [(Role.PAINT, _painter, _painter_wish())],
    }
    found = []
    for role, place, wish in roles.get(queue, []):
        model = recommended(role, current_machine(), current_profile()) if wish == AUTO else CATALOGUE.get(wish)
        if model is None or model.role != role or not place.facts().demo:
            continue
        if role == Role.PAINT and not _worth_offering(model):
            continue
        if store.look(model).state != store.State.WHOLE:
            found.append(ModelOffer(model.name, str(role), model.size_bytes))
    return found


def _worth_offering(model: Model) -> bool:
    """A painter is gigabytes: not without its licence, its libraries, and a disk that is large enough."""
    if not is_accepted(model) or not painting_possible():
        return False
    folder = store.models_dir()
    while not folder.exists():
        folder = folder.parent
    missing = model.size_bytes - store.look(model).here_bytes
    return shutil.disk_usage(folder).free >= missing + DISK_SPARE_BYTES


def painting_possible() -> bool:
    """Whether the libraries are here that run paint models. Imports none of them."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "diffusers", "transformers"))


def unload_all() -> None:
    """Give back every engine's memory and end its child processes."""
    _painter.unload()
    _speech.unload()
    _voice.unload()
