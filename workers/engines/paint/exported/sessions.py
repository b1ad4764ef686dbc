"""One exported graph in ONNX Runtime or in OpenVINO, behind one small interface."""

from __future__ import annotations

import importlib.util
import logging
import os
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from workers.engines.base import EngineError

log = logging.getLogger("meetviz.paint")

OPENVINO, ONNXRUNTIME = "openvino", "onnxruntime"
RUNTIMES = (OPENVINO, ONNXRUNTIME)
FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
_HINTS = {FLOAT32: "f32", BFLOAT16: "bf16", FLOAT16: "f16"}
CACHE = "cache"
"""Folder beside the graphs where OpenVINO keeps what it compiled: the second start reads instead of compiling."""
_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""As Linux names them: x86 with AVX512-BF16 or AMX, and Arm."""


class Session(ABC):
    """A graph, ready to run. Arrays in, arrays out; the inputs' shapes are fixed. Not for two threads at once."""

    precision: str
    """What it computes in: `float32`, `bfloat16`, `float16`."""

    @abstractmethod
    def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs, float32, in the order in which they were exported; arrays of the caller's own.

        Raises EngineError: `out_of_memory`, `engine_failed`.
        """


def open_session(
    graph: Path, *, runtime: str = "", precision: str = "auto", threads: int = 0, keep_compiled: bool = True
) -> Session:
    """Load `graph`, an `.onnx` file with its weights beside it.

    `runtime`: `openvino`, `onnxruntime`, or empty for what `chosen_runtime` says. `precision`: `float32`, `bfloat16`,
    `float16`, or `auto`: bfloat16 where the processor has instructions for it, else float32. ONNX Runtime computes in
    float32 whatever is asked. `threads`: 0 for the runtime's own choice.
    Raises EngineError: `engine_missing`, `bad_setting`, `model_missing`, `out_of_memory`, `engine_failed`.
    """
    runtime = chosen_runtime(runtime)
    if precision not in ("auto", *_HINTS):
        raise EngineError("bad_setting", f"dtype must be auto, float32, bfloat16 or float16, not {precision!r}.")
    if not graph.is_file():
        raise EngineError("model_missing", f"There is no {graph.name} in {graph.parent}. Export the model again.")
    try:
        if runtime == OPENVINO:
            return _OpenVino(graph, precision, threads, keep_compiled)
        return _OnnxRuntime(graph, threads)
    except EngineError:
        raise
    except Exception as error:
        raise _as_engine_error(error, f"{runtime} cannot load {graph.name}") from error


def chosen_runtime(asked: str = "") -> str:
    """The runtime that was asked for, else OpenVINO where it is installed (it is the faster one), else ONNX Runtime.

    Raises EngineError `bad_setting` for an unknown name, `engine_missing` where it (or any) is not installed.
    """
    if asked and asked not in RUNTIMES:
        raise EngineError("bad_setting", f"runtime must be openvino or onnxruntime, not {asked!r}.")
    for name in (asked,) if asked else RUNTIMES:
        if importlib.util.find_spec(name) is not None:
            return name
    wanted = asked or "openvino or onnxruntime"
    raise EngineError("engine_missing", f"This host has no {wanted}. Install it: pip install {asked or OPENVINO}")


class _OnnxRuntime(Session):
    precision = FLOAT32

    def __init__(self, graph: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        # Weights that rest as int8 are unfolded once here, not again at every step.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # Between pictures the cores belong to hearing.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
        try:
            return list(self._session.run(None, inputs))
        except Exception as error:
            raise _as_engine_error(error, "onnxruntime failed") from error


class _OpenVino(Session):
    def __init__(self, graph: Path, precision: str, threads: int, keep_compiled: bool) -> None:
        core = _core()
        self.precision = _native_precision(core) if precision == "auto" else precision
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        kept = graph.parent / CACHE
        if keep_compiled and os.access(graph.parent, os.W_OK):
            settings["CACHE_DIR"] = str(kept)
        self._model = core.compile_model(str(graph), "CPU", settings)
        self._request = self._model.create_infer_request()
        self._outputs = [output.get_any_name() for output in self._model.outputs]

    def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
        try:
            results = self._request.infer(inputs, share_inputs=True)
            return [np.array(results[name], dtype=np.float32) for name in self._outputs]
        except Exception as error:
            raise _as_engine_error(error, "openvino failed") from error


@cache
def _core() -> Any:
    """One for the process, as its makers advise."""
    import openvino

    return openvino.Core()


def _native_precision(core: Any) -> str:
    """bfloat16 where OpenVINO can do it and the processor has instructions for it: elsewhere it is emulated, slowly."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capabilities:
        return FLOAT32
    flags = _processor_flags()
    # Where the system does not list them, OpenVINO is taken at its word.
    return BFLOAT16 if not flags or any(flag in flags for flag in _BF16_FLAGS) else FLOAT32


@cache
def _processor_flags(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(found, "").split())


def _as_engine_error(error: Exception, what: str) -> EngineError:
    """What the runtimes raise, by its words: they have no classes of errors to speak of."""
    text = " ".join(str(error).split())
    lower = text.lower()
    if isinstance(error, MemoryError) or any(
        words in lower for words in ("bad_alloc", "bad allocation", "allocate memory", "out of memory")
    ):
        return EngineError(
            "out_of_memory",
            "There is not enough memory for the exported model. Close something, or export a smaller one.",
        )
    if isinstance(error, ImportError):
        return EngineError("engine_missing", f"This host cannot run exported models: {text[:200]}")
    return EngineError("engine_failed", f"{what}: {type(error).__name__}: {text[:300]}")
