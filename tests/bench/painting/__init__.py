"""How long a picture takes, without anything around it: the poster, and real architectures with random weights.

Ours against plain diffusers as the model's card gives it, and against the bare calls of the models that ours makes.
Each side in a process of its own, so that its memory is its own; one after the other in one run. The first run makes
the weights and the exports (some minutes, 14 GB under `var/bench/`).
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.bench.figures import Figure
from tests.bench.painting import poster, shapes
from workers.engines.base import EngineError
from workers.hardware import probe

SIDE_TIMEOUT_S = 900


def run() -> list[Figure]:
    figures = poster.figures()
    figures += _on_processor(shapes.SD_TURBO, "")
    figures += _on_processor(shapes.SD15, "sd15_")
    if probe().cuda:
        figures += _on_card(shapes.SDXL_TURBO)
    else:
        _say("no CUDA here: paint_gpu_ms, paint_gpu_speedup and paint_gpu_own_share are not measured")
        figures += _on_processor(shapes.SDXL_TURBO, "sdxl_")
    return figures


def _on_processor(shape: shapes.Shape, prefix: str) -> list[Figure]:
    has_gb = psutil.virtual_memory().total / 2**30
    if has_gb < shape.memory_gb:
        _say(f"{shape.name} left out: it wants {shape.memory_gb:g} GB of memory, this machine has {has_gb:.0f}")
        return []
    folder = _made(shape)
    sides = {"plain": _side("plain", folder, shape), "torch": _side("torch", folder, shape)}
    if _exported(folder):
        sides["exported"] = _side("exported", folder, shape)
    ours = min((name for name in sides if name != "plain"), key=lambda name: _median(sides[name], "picture"))
    best, plain = sides[ours], sides["plain"]
    share = statistics.median((whole - bare) / whole for whole, bare in zip(best["picture"], best["bare"], strict=True))
    pictures = len(best["picture"])
    what = f"{shape.name}, {shape.size_px}², {shape.steps} step(s); {best['what']}"
    main = not prefix
    figures = [
        _figure(f"{prefix}paint_cpu_s", _median(best, "picture") / 1000, "s", 4 if main else None, pictures, what),
        Figure(
            f"{prefix}paint_cpu_speedup",
            round(_median(plain, "picture") / _median(best, "picture"), 1),
            "times",
            "higher",
            8 if main else None,
            len(plain["picture"]),
            f"plain diffusers, float32, full VAE: {_median(plain, 'picture') / 1000:.1f} s",
        ),
        _figure(
            f"{prefix}paint_own_share", share, "", 0.05, pictures, f"of {ours}, over the bare calls of its three models"
        ),
        _figure(
            f"{prefix}paint_second_load_ms", best["second_load_ms"], "ms", 0 if main else None, 1, "spent on loading"
        ),
    ]
    for name, side in sides.items():
        stages = ", ".join(f"{stage} {_median(side, stage):.0f}" for stage in ("text", "step", "decode"))
        note = f"{side['what']}; ms: {stages}; load {side['load_s']:.1f} s"
        note += f"; {side['peak_mb']:.0f} MB at most, {side['own_mb']:.0f} without mapped files"
        figures.append(
            _figure(f"{prefix}paint_{name}_s", _median(side, "picture") / 1000, "s", None, len(side["picture"]), note)
        )
    return figures


def _on_card(shape: shapes.Shape) -> list[Figure]:
    """SDXL-Turbo's shape in four steps, both sides compiled."""
    folder = _made(shape)
    plain, ours = _side("plain-compiled", folder, shape, steps=4), _side("card", folder, shape, steps=4)
    share = statistics.median((whole - bare) / whole for whole, bare in zip(ours["picture"], ours["bare"], strict=True))
    what = f"{shape.name}, {shape.size_px}², 4 steps; {ours['what']}; {ours['peak_mb']:.0f} MB at most"
    speedup = _median(plain, "picture") / _median(ours, "picture")
    note = f"plain diffusers with compile: {_median(plain, 'picture'):.0f} ms, {plain['peak_mb']:.0f} MB at most"
    count = len(ours["picture"])
    return [
        _figure("paint_gpu_ms", _median(ours, "picture"), "ms", 120, count, what),
        Figure("paint_gpu_speedup", round(speedup, 2), "times", "higher", 1, len(plain["picture"]), note),
        _figure("paint_gpu_own_share", share, "", 0.1, count, "over the bare calls of its models"),
    ]


def _made(shape: shapes.Shape) -> Path:
    home = Path(os.environ.get("MEETVIZ_HOME") or "var")
    _say(f"{shape.name}: making random weights, where there are none yet")
    folder = shapes.saved(shape, (home / "bench" / "models").absolute())
    gc.collect()
    return folder


def _exported(folder: Path) -> bool:
    from workers.engines.paint.exported import manifest

    try:
        manifest.read(folder)
        return True
    except EngineError:
        _say(f"{folder.name}: exporting to ONNX (a minute or two)")
    # In a process of its own: what it takes would be in nobody's way, and in no figure.
    made = subprocess.run(
        [sys.executable, "-m", "tests.bench.painting.sides", "export", str(folder)], check=False, timeout=SIDE_TIMEOUT_S
    )
    if made.returncode:
        _say(f"{folder.name}: the export failed, so it is not measured")
    return made.returncode == 0


def _side(name: str, folder: Path, shape: shapes.Shape, steps: int = 0) -> dict[str, Any]:
    _say(f"{shape.name}: {name}")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.painting.sides", name, str(folder), str(steps or shape.steps)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=SIDE_TIMEOUT_S,
        check=True,
    )
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _median(side: dict[str, Any], what: str) -> float:
    return statistics.median(side[what]) if side[what] else 0.0


def _figure(name: str, value: float, unit: str, target: float | None, samples: int, note: str) -> Figure:
    return Figure(name, round(value, 3 if unit in ("", "s") else 1), unit, "lower", target, samples, note)


def _say(text: str) -> None:
    print(f"  painting: {text}", file=sys.stderr, flush=True)
