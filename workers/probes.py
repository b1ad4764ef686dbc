"""What only a try shows: each probe runs in a process of its own, with a time limit, and answers in JSON.

    python -m workers.probes device cuda:0
    python -m workers.probes step cpu bfloat16 4 channels_last

A graphics driver may hang or take the process down; neither must happen to whoever asks.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORKS, NAN, WRONG, FAILED, TIMEOUT, NO_SUPPORT = "works", "nan", "wrong", "failed", "timeout", "no_support"
_MARK = "meetviz-probe "
_ROOT = Path(__file__).resolve().parents[1]

Convolve = Callable[[tuple[int, int, int, int], str], np.ndarray]
"""(shape of the input, `float16` or `float32`) -> what a 3 x 3 convolution of it gives, as float32. The same numbers
go in at both precisions."""
SHAPES = ((2, 640, 64, 64), (2, 320, 64, 64), (2, 1280, 16, 16))
"""Inputs that SD's UNet has: batch, channels, height, width. The first is where GTX 16xx cards were seen to fail."""
TOLERANCE = 0.05
"""Of the largest value. float16 has eleven bits: sums of 5,760 products differ by less than 1 %."""


def half_precision(convolve: Convolve, shapes: Sequence[tuple[int, int, int, int]] = SHAPES) -> str:
    """Whether convolutions are right in float16: `works`, `nan` (NaN or infinite) or `wrong`."""
    for shape in shapes:
        half = convolve(shape, "float16")
        if not np.isfinite(half).all():
            return NAN
        full = convolve(shape, "float32")
        if half.shape != full.shape or np.abs(half - full).max() > TOLERANCE * np.abs(full).max():
            return WRONG
    return WORKS


def torch_convolutions(device: str) -> Convolve:
    """Convolutions by torch on a device."""
    import torch

    def convolve(shape: tuple[int, int, int, int], dtype: str) -> np.ndarray:
        channels = shape[1]
        generator = torch.Generator().manual_seed(channels)
        values = torch.randn(shape, generator=generator)
        weights = torch.randn((channels, channels, 3, 3), generator=generator) / (9 * channels) ** 0.5
        kind = getattr(torch, dtype)
        with torch.inference_mode():
            found = torch.nn.functional.conv2d(values.to(device, kind), weights.to(device, kind), padding=1)
            return found.float().cpu().numpy()

    return convolve


def try_device(device: str) -> dict[str, str]:
    """Whether torch can compute on a device, and whether half precision is right there."""
    try:
        import torch
    except ImportError:
        return {"state": NO_SUPPORT}
    kind, _, index = device.partition(":")
    there = {
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if not there[kind]:
        return {"state": NO_SUPPORT}
    try:
        if float((torch.ones(8, device=device) * 2).sum()) != 16.0:
            return {"state": WRONG}
    except Exception as error:
        return {"state": FAILED, "detail": type(error).__name__}
    if kind == "cpu":
        return {"state": WORKS}
    try:
        return {"state": WORKS, "half": half_precision(torch_convolutions(device))}
    except Exception as error:
        return {"state": WORKS, "half": FAILED, "detail": type(error).__name__}


# A step

STEP_GFLOP = {"sd15": 803.0, "sd2": 804.0, "sdxl": 6_761.0, "sdxs": 430.0}
"""Operations of one step of each family's UNet at its own size (512 x 512, SDXL 1024 x 1024), 1e9: counted by torch's
FlopCounterMode from their published configurations. SDXS's is worked out from its number of levels and weights."""
SDXL_512_SHARE = 0.235
"""Of SDXL's operations at 1024 x 1024, those at 512 x 512 (SDXL-Turbo)."""
SD15_UNET: dict[str, Any] = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}
REPEATS = 3


def time_step(device: str, dtype: str, threads: int, channels_last: bool = False) -> dict[str, float]:
    """How long one step of SD 1.5's UNet takes at 512 x 512, and one tiny decode, with random weights; ms.

    Of the UNet only three blocks are run, which hold all kinds of its work: 320 channels at 64 x 64 (where attention is
    dear), 640 at 32 x 32, and 1280 at 8 x 8. The step is what they take times the operations of the whole, divided by
    theirs. Random weights compute as long as real ones.
    """
    import torch

    from workers.engines import torchaudio_guard

    torchaudio_guard.install()
    from diffusers import AutoencoderTiny, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(max(1, threads))
    kind = getattr(torch, dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD15_UNET)
    blocks = [
        (unet.down_blocks[0], (1, 320, 64, 64)),
        (unet.down_blocks[1], (1, 320, 32, 32)),
        (unet.mid_block, (1, 1280, 8, 8)),
    ]
    gflop = taken_ms = 0.0
    with torch.inference_mode():
        for block, shape in blocks:
            hint, text = (1, 1280), (1, 77, 768)
            with FlopCounterMode(display=False) as counter:
                block(*(torch.empty(size, device="meta") for size in (shape, hint)), torch.empty(text, device="meta"))
            gflop += counter.get_total_flops() / 1e9
            block.to(kind).to_empty(device=device)
            for parameter in block.parameters():
                parameter.normal_(std=0.02)
            block.to(memory_format=layout)
            given = [torch.randn(size, device=device, dtype=kind) for size in (shape, hint, text)]
            given[0] = given[0].to(memory_format=layout)
            taken_ms += _quickest_ms(lambda block=block, given=given: block(*given), device)
            block.to_empty(device="meta")
        decoder = AutoencoderTiny().decoder.to(device, kind).to(memory_format=layout)
        latents = torch.randn((1, 4, 64, 64), device=device, dtype=kind).to(memory_format=layout)
        decode_ms = _quickest_ms(lambda: decoder(latents), device)
    return {"step_ms": taken_ms * STEP_GFLOP["sd15"] / gflop, "decode_ms": decode_ms}


def _quickest_ms(work: Callable[[], Any], device: str) -> float:
    """The median after a first run, which allocates and chooses algorithms."""
    import torch

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        elif device == "mps":
            torch.mps.synchronize()

    taken = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        wait()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken[1:])


# Asking

_PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    "device": try_device,
    "step": lambda device, dtype, threads, *layout: time_step(device, dtype, int(threads), "channels_last" in layout),
}


def ask(name: str, *arguments: str, within_s: float) -> dict[str, Any]:
    """Run a probe in a child. `{"state": "timeout"}` or `"failed"` where it gave no answer."""
    command = [sys.executable, "-m", "workers.probes", name, *arguments]
    # As in an engine's process: nothing may download.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    try:
        ended = subprocess.run(
            command,
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired:
        return {"state": TIMEOUT}
    except OSError as error:
        return {"state": FAILED, "detail": type(error).__name__}
    for line in reversed(ended.stdout.decode(errors="replace").splitlines()):
        if line.startswith(_MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return answer
    return {"state": FAILED, "detail": f"exit {ended.returncode}"}


def main(name: str, *arguments: str) -> None:
    try:
        answer = _PROBES[name](*arguments)
    except Exception as error:
        answer = {"state": FAILED, "detail": type(error).__name__}
    print(_MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
