"""Makes `onnx/` in a paint model's folder: its graphs with static shapes, for ONNX Runtime and OpenVINO.

Once for a model and a size. It needs torch, diffusers, `onnx` and `onnxscript`; painting with what it makes needs no
`onnx`. Weights are stored as float16 where that holds the very same values, else as float32, or all as int8.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError
from workers.engines.paint.diffusion.families import Family, family_of
from workers.engines.paint.diffusion.precision import Device, choose
from workers.engines.paint.exported.manifest import FOLDER, TEXT, UNET, Manifest, fingerprint
from workers.engines.paint.model_folder import ModelFolder, survey
from workers.engines.paint.plan import fitted_size
from workers.engines.paint.settings import PaintSettings

OPSET = 20
"""GELU and LayerNormalization are single operators in it, and both runtimes know all of it."""
MULTIPLE_PX = 64
"""Static shapes must divide evenly at every level of the UNet: an eighth for the latents, halved three times."""
SPARE_BYTES = 200_000_000
ALIGNMENT_BYTES = 65_536
"""Of weights in their file: whole pages, so that they can be mapped instead of read."""
_PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnx_ir")
_STAGING = ".onnx-"

OnProgress = Callable[[str, int, int], None]
"""Called with (name of the part that is being made, parts that are done, parts in all); may raise to stop."""


def export(
    folder: Path,
    *,
    width_px: int = 0,
    height_px: int = 0,
    int8: bool = False,
    full_vae: bool = False,
    scheduler: str = "auto",
    on_progress: OnProgress | None = None,
) -> Path:
    """Export the model in `folder` (a diffusers pipeline) into its `onnx/`, in place of an older export.

    Sizes: 0 for the model's own; others are rounded to multiples of 64. `int8`: store the weights of UNet and text
    encoders so. `full_vae`: the model's own autoencoder even where there is a tiny one. `scheduler` as in
    PaintSettings. Returns the folder. Whatever stops it, `onnx/` is what it was before, or whole.
    Raises EngineError: `model_missing`, `engine_missing`, `bad_setting`, `out_of_memory`, `engine_failed`.
    """
    tell = on_progress or (lambda part, done, parts: None)
    look = survey(folder)
    family = family_of(look, scheduler)
    size = _size(width_px, height_px, family)
    _check_packages()
    _check_space(folder)
    _sweep(folder)
    staging = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{os.getpid()}-", dir=folder))
    try:
        tell("loading", 0, 1)
        manifest = _make(look, family, size, int8, full_vae, staging, tell)
        manifest.write(staging)
        staging.chmod(0o755)
        _put(staging, folder / FOLDER)
    except (EngineError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _as_engine_error(error, folder) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        gc.collect()
    return folder / FOLDER


def _make(
    look: ModelFolder,
    family: Family,
    size: tuple[int, int],
    int8: bool,
    full_vae: bool,
    staging: Path,
    tell: OnProgress,
) -> Manifest:
    from workers.engines.paint.diffusion.loading import Model
    from workers.engines.paint.exported.graphs import graphs_of

    # As the other painter would load it to compute in float32 on the CPU, with all that its folder adds to it fused.
    precision = choose(PaintSettings(device="cpu", dtype="float32"), Device("cpu"))
    pipe = Model(look, family, precision, "cpu", tiny=not full_vae).pipe
    vae = pipe.vae
    makers = graphs_of(pipe, vae, size)
    for number, (name, make) in enumerate(makers):
        tell(name, number, len(makers))
        write_graph(make(), staging, int8=int8 and name in (TEXT, UNET))
        gc.collect()
    tell("", len(makers), len(makers))
    return Manifest(
        model=look.path.name,
        family=asdict(family),
        width_px=size[0],
        height_px=size[1],
        channels=int(pipe.unet.config.in_channels),
        guidance_channels=int(pipe.unet.config.time_cond_proj_dim or 0),
        scheduler=type(pipe.scheduler).__name__,
        scheduler_config=_plain(dict(pipe.scheduler.config)),
        zero_negative=bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False)),
        decoder="tiny" if type(vae).__name__ == "AutoencoderTiny" else "full",
        weights="int8" if int8 else "exact",
        files={file.name: file.stat().st_size for file in sorted(staging.iterdir())},
        source=fingerprint(look.path),
        opset=OPSET,
        versions={name: importlib.metadata.version(name) for name in _PACKAGES},
    )


def write_graph(graph: Any, staging: Path, *, int8: bool) -> None:
    """Export one `graphs.Graph` into a folder: `NAME.onnx` and, with its weights, `NAME.onnx.data`."""
    import onnx_ir
    import torch

    from workers.engines.paint.exported import weights

    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            graph.module.eval(),
            kwargs=graph.examples,
            input_names=list(graph.examples),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model: Any = program.model  # type: ignore[union-attr]
    found = [value.name for value in model.graph.inputs]
    if found != list(graph.examples):
        raise EngineError("engine_failed", f"The exported {graph.name} takes {found}, not {list(graph.examples)}.")
    if int8:
        weights.quantise(model)
    weights.halve(model)
    file = staging / f"{graph.name}.onnx"
    # Apart from the graph, for protobuf ends at 2 GB.
    onnx_ir.save(model, file, external_data=f"{file.name}.data", alignment=ALIGNMENT_BYTES)


def _check_packages() -> None:
    """Raises EngineError `engine_missing`."""
    try:
        import diffusers  # noqa: F401
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise EngineError(
            "engine_missing", f"This host cannot export ({error}). Install torch, diffusers, onnx and onnxscript."
        ) from error


def _size(width_px: int, height_px: int, family: Family) -> tuple[int, int]:
    if width_px < 0 or height_px < 0:
        raise EngineError(
            "bad_setting", f"A picture cannot be {width_px} x {height_px} pixels. Give for example 512x512."
        )
    own_width, own_height = family.own_size
    width = width_px or (height_px * own_width // own_height if height_px else own_width)
    height = height_px or (width_px * own_height // own_width if width_px else own_height)
    multiple = MULTIPLE_PX if min(width, height) >= MULTIPLE_PX else 8
    return fitted_size(width, height, multiple)


def _check_space(folder: Path) -> None:
    """Raises EngineError `engine_failed` when the disk has too little room for a copy of the weights."""
    weights = sum(file.stat().st_size for file in folder.glob("*/*.safetensors"))
    free = shutil.disk_usage(folder).free
    if free < weights + SPARE_BYTES:
        raise EngineError(
            "engine_failed",
            f"The disk of {folder} is full: {free // 10**6} MB free, about {(weights + SPARE_BYTES) // 10**6} MB "
            "needed. Free some space and try again.",
        )


def _sweep(folder: Path) -> None:
    """Remove what exports left that were killed."""
    import psutil

    for left in folder.glob(f"{_STAGING}*"):
        owner = left.name.removeprefix(_STAGING).partition("-")[0]
        if not owner.isdigit() or int(owner) == os.getpid() or not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _put(staging: Path, place: Path) -> None:
    old = None
    if place.exists():
        old = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{os.getpid()}-", dir=place.parent)) / "old"
        place.rename(old)
    try:
        staging.rename(place)
    except OSError:
        if old is not None:
            old.rename(place)
        raise
    if old is not None:
        shutil.rmtree(old.parent, ignore_errors=True)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration as JSON spells it."""
    import numpy as np

    def spelled(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value

    return {name: spelled(value) for name, value in config.items() if not name.startswith("_")}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on itself."""
    noisy = logging.getLogger("torch.onnx")
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(before)


def _as_engine_error(error: Exception, folder: Path) -> EngineError:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return EngineError("out_of_memory", "There is not enough memory to export this model. Close something else.")
    if isinstance(error, OSError) and error.errno == 28:
        return EngineError("engine_failed", f"The disk of {folder} is full. Free some space and export again.")
    return EngineError("engine_failed", f"The model at {folder} cannot be exported: {type(error).__name__}: {text}")
