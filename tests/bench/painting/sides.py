"""One side of the comparison in a process of its own: `python -m tests.bench.painting.sides SIDE FOLDER [STEPS]`.

Prints its times as one line of JSON: milliseconds of whole pictures and of their stages, of the bare calls of the same
models, and the most memory. Every picture has another prompt, for a prompt that is known need not be encoded.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workers.engines  # noqa: F401  (before diffusers: it mends an import)
from workers.messages import PaintRequest, Scene

PICTURES, PLAIN_PICTURES = 5, 1
WARM_UPS = 2


def prompt(number: int) -> str:
    return f"a wooden bridge over a river by tall trees and a small red house {'abcdefghijklmnop'[number % 16]}"


def main(side: str, folder: str, steps: str = "1") -> None:
    if side == "export":
        from workers.engines.paint.exported.export import export

        export(Path(folder))
        return
    print(json.dumps(SIDES[side](folder, int(steps))), flush=True)


class Watch:
    """Collects the times of calls by name."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {"text": [], "step": [], "decode": []}

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            self.ms[stage].append((time.perf_counter() - start) * 1000)
            return result

        return timed

    def clear(self) -> None:
        for times in self.ms.values():
            times.clear()


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def peak_mb() -> float:
    """Of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def own_mb() -> float:
    """Resident memory of this process without files that are mapped into it: the system takes those back if need be."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
    return int(found.group(1)) / 2**10 if found else 0.0


def plain(folder: str, steps: int) -> dict[str, Any]:
    """As the model's card says: `AutoPipelineForText2Image`, no guidance; float32, for half precision is for cards."""
    import torch
    from diffusers import AutoPipelineForText2Image

    start = time.perf_counter()
    pipe = AutoPipelineForText2Image.from_pretrained(folder, torch_dtype=torch.float32)
    load_s = time.perf_counter() - start
    pipe.set_progress_bar_config(disable=True)
    watch = Watch()
    pipe.text_encoder.forward = watch.around("text", pipe.text_encoder.forward)
    pipe.unet.forward = watch.around("step", pipe.unet.forward)
    pipe.vae.decode = watch.around("decode", pipe.vae.decode)

    def paint(number: int, steps: int = steps) -> None:
        pipe(prompt=prompt(number), num_inference_steps=steps, guidance_scale=0.0)

    # One is enough to warm up, of one step: it takes half a minute on slow machines.
    paint(0, 1)
    watch.clear()
    pictures = [timed(lambda n=n: paint(n + 1)) for n in range(PLAIN_PICTURES)]
    return _told("diffusers float32, full VAE", load_s, pictures, [], watch.ms, peak_mb())


def ours_torch(folder: str, steps: int) -> dict[str, Any]:
    """Our painter by torch on the CPU, in the best precision of the processor."""
    import torch

    from workers.engines.paint.diffusion.painter import DiffusersPainter

    painter = DiffusersPainter(folder, {"device": "cpu", "channels_last": True})
    start = time.perf_counter()
    painter.load()
    load_s = time.perf_counter() - start
    model: Any = painter._model
    watch = Watch()
    latents = torch.randn(1, 4, 64, 64).to(model.dtype)
    calls = _torch_calls(model, latents, steps, torch)
    return _measured(painter, f"our torch, {model.dtype}", load_s, steps, calls, watch)


def ours_exported(folder: str, steps: int) -> dict[str, Any]:
    """Our painter by OpenVINO (or ONNX Runtime where that is missing)."""
    import numpy as np

    from workers.engines.paint.exported.painter import ExportedPainter
    from workers.engines.paint.exported.sessions import chosen_runtime

    painter = ExportedPainter(folder)
    start = time.perf_counter()
    painter.load()
    load_s = time.perf_counter() - start
    sessions = {
        name: part.load() for name, part in painter._parts.items() if name in ("text_encoder", "unet", "vae_decoder")
    }
    found = painter._found
    two = found.family["kind"] == "sdxl"
    ids = {name: np.ones((1, 77), dtype=np.int64) for name in ("ids", "ids_2")[: 1 + two]}
    random = np.random.default_rng(0)
    latents = random.standard_normal((1, 4, found.height_px // 8, found.width_px // 8), dtype=np.float32)
    timestep = np.array([999.0], dtype=np.float32)
    encoded = sessions["text_encoder"].run(**ids)
    told: dict[str, Any] = {"embeddings": encoded[0]}
    if two:
        told |= {"pooled": encoded[1], "time_ids": np.array([[512, 512, 0, 0, 512, 512]], dtype=np.float32)}
    calls = {
        "text": lambda: sessions["text_encoder"].run(**ids),
        "step": lambda: sessions["unet"].run(latents=latents, timestep=timestep, **told),
        "decode": lambda: sessions["vae_decoder"].run(latents=latents),
    }
    what = f"our {chosen_runtime()}, {sessions['unet'].precision}, {found.weights} weights"
    return _measured(painter, what, load_s, steps, calls, Watch())


def card(folder: str, steps: int) -> dict[str, Any]:
    """Our painter on a graphics card, compiled."""
    import torch

    from workers.engines.paint.diffusion.painter import DiffusersPainter

    painter = DiffusersPainter(folder, {"device": "cuda", "compile": True, "channels_last": True})
    start = time.perf_counter()
    painter.load()
    load_s = time.perf_counter() - start
    model: Any = painter._model
    latents = torch.randn(1, 4, 64, 64, device="cuda", dtype=model.dtype)
    calls = _torch_calls(model, latents, steps, torch)
    result = _measured(painter, f"our torch, {model.dtype}, compiled", load_s, steps, calls, Watch())
    return result | {"peak_mb": torch.cuda.max_memory_allocated() / 2**20}


def plain_compiled(folder: str, steps: int) -> dict[str, Any]:
    """diffusers in float16 on a card, UNet and decoder compiled as its guide to speed says, else as the card says."""
    import torch
    from diffusers import AutoPipelineForText2Image

    start = time.perf_counter()
    pipe = AutoPipelineForText2Image.from_pretrained(folder, torch_dtype=torch.float16).to("cuda")
    pipe.set_progress_bar_config(disable=True)
    for module in (pipe.unet, pipe.vae):
        module.to(memory_format=torch.channels_last)
    pipe.unet = torch.compile(pipe.unet, mode="reduce-overhead", fullgraph=True)
    pipe.vae.decode = torch.compile(pipe.vae.decode, mode="reduce-overhead", fullgraph=True)
    load_s = time.perf_counter() - start

    def paint(number: int) -> None:
        pipe(prompt=prompt(number), num_inference_steps=steps, guidance_scale=0.0)
        torch.cuda.synchronize()

    for number in range(WARM_UPS + 1):
        paint(number)
    pictures = [timed(lambda n=n: paint(n)) for n in range(PICTURES)]
    peak = torch.cuda.max_memory_allocated() / 2**20
    return _told("diffusers float16, compiled", load_s, pictures, [], Watch().ms, peak)


def _torch_calls(model: Any, latents: Any, steps: int, torch: Any) -> dict[str, Callable[[], Any]]:
    """The bare calls of a loaded pipeline's models."""
    pipe, device = model.pipe, model.device
    ids = torch.ones(1, 77, dtype=torch.int64, device=device)
    encoders = [getattr(pipe, name) for name in ("text_encoder", "text_encoder_2") if getattr(pipe, name, None)]
    vae = model.vae(True)
    timestep = torch.tensor(999, device=device)

    def waited(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                result = function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return result

        return call

    encoded = waited(lambda: [encoder(ids, output_hidden_states=True) for encoder in encoders])()
    if len(encoded) == 1:
        text, told = encoded[0].last_hidden_state, None
    else:
        text = torch.cat([part.hidden_states[-2] for part in encoded], dim=-1)
        sizes = torch.tensor([[512, 512, 0, 0, 512, 512]], dtype=model.dtype, device=device)
        told = {"text_embeds": encoded[1].text_embeds.to(model.dtype), "time_ids": sizes}
    text = text.to(model.dtype)
    return {
        "text": waited(lambda: [encoder(ids, output_hidden_states=True) for encoder in encoders]),
        "step": waited(
            lambda: pipe.unet(latents, timestep, encoder_hidden_states=text, added_cond_kwargs=told, return_dict=False)
        ),
        "decode": waited(lambda: vae.decode(latents, return_dict=False)),
    }


def _measured(
    painter: Any, what: str, load_s: float, steps: int, calls: dict[str, Callable[[], Any]], watch: Watch
) -> dict[str, Any]:
    """Pictures and bare calls in turn, so that whatever else the machine does meets both."""

    def paint(number: int) -> None:
        painter.paint(
            PaintRequest(
                id=str(number),
                meeting=1,
                prompt=prompt(number),
                negative="",
                scene=Scene(title="a wooden bridge"),
                seed=number,
                steps=steps,
                deadline_s=600.0,
            )
        )

    for number in range(WARM_UPS):
        paint(number)
    second_load_ms = timed(painter.load)
    bare_calls = {stage: watch.around(stage, call) for stage, call in calls.items()}

    def bare() -> None:
        bare_calls["text"]()
        for _ in range(steps):
            bare_calls["step"]()
        bare_calls["decode"]()

    bare()
    watch.clear()
    pictures, bares = [], []
    for number in range(PICTURES):
        pictures.append(timed(lambda n=number: paint(WARM_UPS + n)))
        bares.append(timed(bare))
    return _told(what, load_s, pictures, bares, watch.ms, peak_mb(), second_load_ms)


def _told(
    what: str,
    load_s: float,
    pictures: list[float],
    bare: list[float],
    stages: dict[str, list[float]],
    peak: float,
    second_load_ms: float = 0.0,
) -> dict[str, Any]:
    return {
        "what": what,
        "load_s": load_s,
        "picture": pictures,
        "bare": bare,
        **stages,
        "peak_mb": peak,
        "own_mb": own_mb(),
        "second_load_ms": round(second_load_ms, 1),
    }


SIDES = {
    "plain": plain,
    "torch": ours_torch,
    "exported": ours_exported,
    "plain-compiled": plain_compiled,
    "card": card,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
