"""The painter for servers without a graphics card: a model that was exported to ONNX, in OpenVINO or ONNX Runtime.

What the graphs leave over is diffusers' own: its schedulers, the model's tokenizer, and the loop and the prompts of the
painter beside this one. So the same seed gives the same picture, but for the runtime's rounding. torch is imported for
the schedulers alone (about 2.5 s and 0.3 GB); no weights are in it.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workers import hardware
from workers.engines.base import EngineError, OnStep, Painted, Painter
from workers.engines.paint.diffusion.clock import peak_memory_mb
from workers.engines.paint.diffusion.decoding import BLACK_LEVEL
from workers.engines.paint.diffusion.denoising import Conditions, Denoiser, steps_for, steps_that_run
from workers.engines.paint.diffusion.loading import libraries
from workers.engines.paint.diffusion.previews import LEAST_STEPS, Previews
from workers.engines.paint.diffusion.prompts import Kept, Prompts
from workers.engines.paint.exported import manifest as manifests
from workers.engines.paint.exported.manifest import CHECKER, DECODER, ENCODER, TEXT, UNET
from workers.engines.paint.exported.parts import ExportedChecker, ExportedTexts, ExportedUnet, Part, black
from workers.engines.paint.exported.sessions import chosen_runtime, open_session
from workers.engines.paint.plan import Limits, StageTimes, fitted_size, plan
from workers.engines.paint.references import fit_to, open_reference
from workers.engines.paint.settings import PaintSettings, settings_from
from workers.messages import PaintRequest, Reference

log = logging.getLogger("meetviz.paint")

KEPT_STARTS = 8
"""Images whose latents are kept: 64 kB each."""


class ExportedPainter(Painter):
    """One exported model, loaded once, painting one picture after another at the size that it was exported for.

    Where another size is asked for, the picture is resized (what would hang over is cut off). Of references only
    `start` is used, where the export has an encoder.
    """

    name = "onnx"

    def __init__(self, folder: str, settings: dict[str, Any] | None = None) -> None:
        """`folder`: a paint model's, with `onnx/` in it. `settings`: fields of PaintSettings.

        Of them it heeds `runtime`, `dtype`, `threads`, `steps` and `profile`. Both are looked at when the model is
        loaded, which raises EngineError `model_missing` or `bad_setting`.
        """
        super().__init__()
        self._asked = dict(settings or {})
        self._folder = Path(folder)
        self.model = self._folder.name
        self.profile = str(self._asked.get("profile", ""))
        self._settings = PaintSettings()
        self._times = StageTimes()
        self._warm = False

    def _load(self) -> None:
        self._settings = settings_from(self._asked)
        found = manifests.read(self._folder)
        runtime = chosen_runtime(self._settings.runtime)
        torch = libraries()
        import diffusers

        threads = self._settings.threads or hardware.probe().cores
        graphs = self._folder / manifests.FOLDER

        def opened(name: str, precision: str) -> Any:
            return open_session(graphs / f"{name}.onnx", runtime=runtime, precision=precision, threads=threads)

        self._parts = {
            name: Part(name, self._settings.dtype, opened) for name in (TEXT, UNET, DECODER, ENCODER, CHECKER)
        }
        for name in manifests.NEEDED:
            self._parts[name].load()
        kind = getattr(diffusers, found.scheduler, None)
        if not hasattr(kind, "from_config"):
            raise manifests.missing(self._folder, f"diffusers here has no {found.scheduler}")
        self._found, self._family = found, found.wants
        self._device = torch.device("cpu")
        self._denoiser = Denoiser(
            ExportedUnet(self._parts[UNET], found),
            kind.from_config(found.scheduler_config),
            self._device,
            embedded_guidance=self._family.embedded_guidance,
        )
        self._prompts = Prompts(ExportedTexts(self._parts[TEXT], self._folder, found), self._device, torch.float32)
        self._checker = ExportedChecker(self._parts[CHECKER], self._folder) if found.checks else None
        self._starts: Any = Kept(KEPT_STARTS)
        self._limits = Limits(
            own_steps=self._settings.steps or self._family.own_steps,
            least_steps=min(self._settings.steps or self._family.own_steps, self._family.least_steps),
            own_size=self._family.own_size,
            least_px=self._family.least_px,
            fixed_size=True,
            has_tiny=found.decoder == "tiny",
            has_full=found.decoder != "tiny",
        )
        log.info("exported model loaded: %s, %s", runtime, self._parts[UNET].load().precision)

    def _unload(self) -> None:
        for name in ("_parts", "_denoiser", "_prompts", "_starts", "_checker"):
            delattr(self, name)
        self._warm = False
        gc.collect()

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        planned = plan(request, self._limits, self._times)
        compromises = set(planned.compromises)
        timings: dict[str, float] = {}
        widened = [part for part in self._parts.values() if part.widened]
        start, strength = self._start(request.references, compromises)
        steps = min(planned.steps, self._family.most_steps)
        if steps < planned.steps:
            compromises.add("fewer_steps")
        samples, done = self._attempt(request, steps, start, strength, on_step, timings)
        if samples.max(initial=0) < BLACK_LEVEL and any([self._parts[name].widen() for name in (UNET, DECODER)]):
            samples, done = self._attempt(request, steps, start, strength, on_step, timings)
        if samples.max(initial=0) < BLACK_LEVEL:
            raise black()
        if any(part.widened and part not in widened for part in self._parts.values()):
            compromises.add("float32")
        self._warm = True
        image = Image.fromarray(samples, "RGB")
        if self._checker is not None and self._checker.refuses(image):
            raise EngineError("blocked_picture", "The model's own checker refused the picture.")
        return Painted(
            _resized(image, request),
            request.seed,
            steps=done,
            compromises=sorted(compromises),
            timings_ms={stage: round(ms, 1) for stage, ms in timings.items()},
            peak_memory_mb=peak_memory_mb(self._device),
        )

    def _attempt(
        self,
        request: PaintRequest,
        steps: int,
        start: np.ndarray | None,
        strength: float,
        on_step: OnStep,
        timings: dict[str, float],
    ) -> tuple[np.ndarray, int]:
        """One picture: uint8, (height, width, 3), and how many steps it took."""
        import torch

        width, height = self._family.own_size
        pixels = width * height
        guidance = self._family.guidance(request.guidance)
        guided = guidance > 1 and not self._family.embedded_guidance
        clock = _Clock()
        encoded, fresh = self._prompts.encode(request.prompt, request.negative, guided=guided)
        timings["text"] = clock.lap()
        if fresh:
            self._learn("text", 0, timings["text"])
        if start is not None:
            steps, strength = steps_for(steps, strength, self._family.most_steps)
        running = steps if start is None else steps_that_run(steps, strength)
        previews = Previews(self._family.kind, self._device) if request.previews and running >= LEAST_STEPS else None

        raised: list[Exception] = []
        done = 0
        stepped = time.perf_counter()

        def after_step(step: int, total: int, clean: Callable[[], Any]) -> None:
            nonlocal stepped, done
            done = step
            self._learn("step", pixels, (time.perf_counter() - stepped) * 1000)
            foreseen = clean() if previews is not None and step < total else None
            preview = previews.of(foreseen) if previews is not None and foreseen is not None else None
            try:
                on_step(step, total, preview)
            except Exception as error:
                raised.append(error)
                raise
            stepped = time.perf_counter()

        try:
            with torch.inference_mode():
                latents = self._denoiser.run(
                    Conditions(encoded.text, encoded.pooled, guidance, guided),
                    steps=steps,
                    size=(width, height),
                    # The same generator as the other painter's: the same seed starts from the same noise.
                    generator=torch.Generator("cpu").manual_seed(request.seed % 2**63),
                    dtype=torch.float32,
                    after_step=after_step,
                    start=None if start is None else torch.from_numpy(start),
                    strength=strength,
                )
        except Exception as error:
            if error in raised or isinstance(error, EngineError):
                raise
            text = " ".join(str(error).split())[:300]
            raise EngineError("engine_failed", f"The painter failed: {type(error).__name__}: {text}") from error
        timings["denoise"] = clock.lap()
        (samples,) = self._parts[DECODER].run(latents=np.ascontiguousarray(latents.numpy()))
        picture = np.clip(np.rint(samples * 255), 0, 255).astype(np.uint8)
        timings["decode"] = clock.lap()
        self._learn("decode" if self._limits.has_tiny else "decode_full", pixels, timings["decode"])
        return picture, done

    def _start(self, references: list[Reference], compromises: set[str]) -> tuple[np.ndarray | None, float]:
        """Latents of the image to start from, and how far to go away from it; the other references are left out."""
        found: tuple[np.ndarray | None, float] = (None, 1.0)
        for reference in references:
            if reference.use != "start" or found[0] is not None or not self._found.can_start_from_image:
                compromises.add("reference_ignored")
                continue
            try:
                latents = self._starts.get(reference.key or reference.image, lambda r=reference: self._latents_of(r))
            except EngineError as error:
                if error.code != "bad_reference":
                    raise
                compromises.add("reference_unreadable")
                continue
            found = (latents, reference.strength)
        return found

    def _latents_of(self, reference: Reference) -> np.ndarray:
        """float32, (1, channels, height / 8, width / 8). Raises EngineError `bad_reference`."""
        image = fit_to(open_reference(reference.image), *self._family.own_size)
        (latents,) = self._parts[ENCODER].run(samples=np.asarray(image, dtype=np.float32) / 255)
        return latents

    def _learn(self, stage: str, pixels: int, ms: float) -> None:
        # The first picture also pays for what the runtimes set up at the first call.
        if self._warm:
            self._times.learn(stage, pixels, ms)


class _Clock:
    def __init__(self) -> None:
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Milliseconds since the last lap."""
        before, self._start = self._start, time.perf_counter()
        return (self._start - before) * 1000


def _resized(image: Image.Image, request: PaintRequest) -> Image.Image:
    """At the size that was asked for, if one was; a side that is left open follows from the picture's shape."""
    if request.width_px <= 0 and request.height_px <= 0:
        return image
    width = request.width_px if request.width_px > 0 else max(1, request.height_px * image.width // image.height)
    height = request.height_px if request.height_px > 0 else max(1, request.width_px * image.height // image.width)
    return fit_to(image, *fitted_size(width, height, multiple_of=1))
