"""Which engines this host runs: chosen by the environment and by what is installed, changed without a restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.engines.base import Engine, EngineError, Painter, SpeechEngine, VoiceEngine
from workers.environment import setting
from workers.faults import described
from workers.hardware import probe
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, EngineFacts, ModelOffer
from workers.models import store
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import AUTO, Candidate, recommended
from workers.places import Place

log = logging.getLogger("meetviz.workers")

LOAD_WITHIN_S = 120.0
"""For a model (3 GB from a slow disk) and for every call."""
on_change: list[Callable[[], None]] = []
"""Called, from any thread, when another engine is at work."""


def _make_speech(candidate: Candidate) -> Engine:
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


def _make_painter() -> Painter:
    kind = setting("MEETVIZ_PAINTER", "poster")
    if kind == "poster":
        from workers.engines.paint.poster import PosterPainter

        return PosterPainter()
    if kind == "diffusers":
        from workers.engines.paint.diffusers_painter import DiffusersPainter

        model = setting("MEETVIZ_PAINT_MODEL")
        if not model:
            raise EngineError("model_missing", "MEETVIZ_PAINTER=diffusers needs MEETVIZ_PAINT_MODEL, a model's folder")
        return DiffusersPainter(Path(model))
    raise EngineError("bad_setting", f"MEETVIZ_PAINTER must be poster or diffusers, not {kind!r}")


def _speech_wish() -> str:
    return setting("MEETVIZ_SPEECH", AUTO)


def _voice_wish() -> str:
    return setting("MEETVIZ_VOICE", AUTO)


def _tell() -> None:
    for callback in on_change:
        callback()


_speech = Place(Role.SPEECH, _speech_wish, _make_speech, _tell)
_voice = Place(Role.VOICE, _voice_wish, _make_voice, _tell)
_painter: Painter | None = None
_painter_lock = threading.Lock()


def speech_engine() -> SpeechEngine:
    """The engine that hears; keep it only as long as one utterance."""
    return _speech.hold()  # type: ignore[return-value]


def voice_engine() -> VoiceEngine:
    """The engine that tells voices apart; keep it only as long as one utterance."""
    return _voice.hold()  # type: ignore[return-value]


def painter() -> Painter:
    global _painter
    with _painter_lock:
        if _painter is None:
            _painter = _make_painter()
        return _painter


def load(queue: str) -> None:
    """Load the engines behind a queue, so that the first request need not wait. What fails is logged."""
    makers: dict[str, list[Callable[[], Any]]] = {QUEUE_SPEECH: [speech_engine, voice_engine], QUEUE_PAINT: [painter]}
    for engine in makers.get(queue, []):
        try:
            engine().load()
        except Exception as error:
            log.warning("an engine did not load: %s", described(error))


def facts(queue: str) -> dict[str, EngineFacts]:
    """What works behind a queue, by role; does not wait for anything."""
    if queue == QUEUE_SPEECH:
        return {"speech": _speech.facts(), "voice": _voice.facts()}
    return {"paint": painter().facts()} if queue == QUEUE_PAINT else {}


def refresh(queue: str) -> None:
    """See whether what is installed has changed, and change engines accordingly, beside the work. Cheap."""
    if queue == QUEUE_SPEECH:
        _speech.refresh()
        _voice.refresh()


def offers(queue: str) -> list[ModelOffer]:
    """Real models in place of demo engines that this host could fetch and run well."""
    if queue != QUEUE_SPEECH or store.fetching_forbidden():
        return []
    found = []
    for role, place, wish in ((Role.SPEECH, _speech, _speech_wish()), (Role.VOICE, _voice, _voice_wish())):
        model = recommended(role, probe()) if wish == AUTO else CATALOGUE.get(wish)
        if model is None or model.role != role or not place.facts().demo:
            continue
        if store.look(model).state != store.State.WHOLE:
            found.append(ModelOffer(model.name, str(role), model.size_bytes))
    return found


def unload_all() -> None:
    """Give back every engine's memory and end its child processes."""
    global _painter
    with _painter_lock:
        painting, _painter = _painter, None
    if painting is not None:
        painting.unload()
    _speech.unload()
    _voice.unload()
