"""Which engines this host runs: chosen by the environment, made once, loaded at first use."""

from __future__ import annotations

import threading
from pathlib import Path

from workers.engines.base import Engine, EngineError, Painter, SpeechEngine, VoiceEngine
from workers.environment import setting
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH

_lock = threading.Lock()
_engines: dict[str, Engine] = {}


def speech_engine() -> SpeechEngine:
    return _once("speech", _make_speech)  # type: ignore[return-value]


def voice_engine() -> VoiceEngine:
    return _once("voice", _make_voice)  # type: ignore[return-value]


def painter() -> Painter:
    return _once("paint", _make_painter)  # type: ignore[return-value]


def engines_of(queue: str) -> dict[str, Engine]:
    """The engines behind a queue, by role."""
    if queue == QUEUE_SPEECH:
        return {"speech": speech_engine(), "voice": voice_engine()}
    if queue == QUEUE_PAINT:
        return {"paint": painter()}
    return {}


def unload_all() -> None:
    """Give back every engine's memory and end its child processes."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.unload()


def _once(role: str, make) -> Engine:  # type: ignore[no-untyped-def]
    with _lock:
        if role not in _engines:
            _engines[role] = make()
        return _engines[role]


def _make_speech() -> SpeechEngine:
    from workers.engines.child import hosted
    from workers.engines.speech.pocketsphinx import PocketSphinxEngine

    # It holds the GIL while it decodes: in a child of its own, or every socket of this process would stand still.
    return hosted(PocketSphinxEngine)


def _make_voice() -> VoiceEngine:
    from workers.engines.child import hosted
    from workers.engines.voice.resemblyzer import ResemblyzerEngine

    # One BLAS thread, which only a process of its own can have: on busy cores more of them spin against each other.
    return hosted(ResemblyzerEngine)


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
