"""The painter for real models: Stable Diffusion 1, 2 and XL and what was distilled from them, from a folder.

It never downloads. torch and diffusers (2-4 s to import) are first touched when a model is loaded.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from workers.engines.base import EngineError, OnStep, Painted, Painter
from workers.engines.paint.diffusion import decoding
from workers.engines.paint.diffusion.clock import Clock, forget_peak, peak_memory_mb
from workers.engines.paint.diffusion.denoising import Conditions, Denoiser, steps_for, steps_that_run
from workers.engines.paint.diffusion.families import family_of
from workers.engines.paint.diffusion.precision import best_device, check_settings, choose
from workers.engines.paint.diffusion.previews import LEAST_STEPS, Previews
from workers.engines.paint.diffusion.recovery import Attempt, Failure, HalfPrecision, next_attempt
from workers.engines.paint.model_folder import survey
from workers.engines.paint.plan import Limits, Plan, StageTimes, plan
from workers.engines.paint.settings import PaintSettings, settings_from
from workers.messages import PaintRequest, Scene

if TYPE_CHECKING:
    from workers.engines.paint.diffusion.guides import GuideMaker
    from workers.engines.paint.diffusion.loading import Model
    from workers.engines.paint.diffusion.prompts import Prompts

log = logging.getLogger("meetviz.paint")

FINISH_WITHIN_MS = 1000.0
FULL_OVER_TINY = 20.0
"""How many times as long the full autoencoder takes, where it was not measured: 24 was, on CPUs in one precision."""


@dataclass(slots=True)
class _Latest:
    """What is kept of the picture painted last, to decode it in full."""

    frame_id: str
    latents: Any
    size: tuple[int, int]
    """Of the picture, px: what was asked for."""
    seed: int
    steps: int


class DiffusersPainter(Painter):
    """One model, loaded once, painting one picture after another.

    The model's folder, the settings and what is chosen from both: see `model_folder`, `families` and `precision`.
    """

    name = "diffusers"

    def __init__(self, folder: str, settings: dict[str, Any] | None = None) -> None:
        """`folder`: with `model_index.json` and, where there is more, `meetviz/`. `settings`: fields of PaintSettings.

        Both are looked at when the model is loaded, which raises EngineError `model_missing` or `bad_setting`.
        """
        super().__init__()
        self._folder = Path(folder)
        self._asked = dict(settings or {})
        self.model = self._folder.name
        self.profile = str(self._asked.get("profile", ""))
        self._settings = PaintSettings()
        self._times = StageTimes()
        self._model: Model | None = None
        self._latest: _Latest | None = None

    def _load(self) -> None:
        self._settings = settings = settings_from(self._asked)
        check_settings(settings)
        folder = survey(self._folder)
        family = family_of(folder, settings.scheduler)
        from workers.engines.paint.diffusion.guides import GuideMaker
        from workers.engines.paint.diffusion.loading import Model, as_engine_error, device_facts, libraries
        from workers.engines.paint.diffusion.prompts import Prompts

        torch = libraries()
        self.device = best_device(
            settings.device, cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available()
        )
        if settings.threads > 0:
            torch.set_num_threads(settings.threads)
        try:
            precision = choose(settings, device_facts(self.device, torch))
            model = Model(folder, family, precision, self.device, tiny=settings.tiny_vae)
        except Exception as error:
            raise as_engine_error(error, torch) from error
        self._half = HalfPrecision()
        self._denoiser = Denoiser(
            model.unet, model.pipe.scheduler, model.device, embedded_guidance=family.embedded_guidance
        )
        self._prompts: Prompts = Prompts(model.pipe, model.device, model.dtype)
        self._guides: GuideMaker = GuideMaker(model)
        self._shapes: set[Any] = set()
        self._model = model
        if model.compiled:
            self._warm_up()

    def _unload(self) -> None:
        with self._painting:
            model, self._model, self._latest = self._model, None, None
            del self._denoiser, self._prompts, self._guides
            if model is not None:
                model.pipe = None
                model.free()

    def _warm_up(self) -> None:
        """Compile before anybody waits: half a minute and more, which must not be learned from either."""
        scene = Scene(title="")
        request = PaintRequest("", 0, "", "", scene, seed=0, width_px=0, height_px=0, deadline_s=float("inf"))
        self._try(request, lambda step, steps, preview: None)
        self._times = StageTimes()

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        model = self._at_hand()
        if model.float32 and model.precision.half and self._half.allowed(time.monotonic()):
            self._compute_in_full(False)
        self._latest = None
        forget_peak(model.device)
        painted = self._try(request, on_step)
        painted.peak_memory_mb = peak_memory_mb(model.device)
        return painted

    def _try(self, request: PaintRequest, on_step: OnStep) -> Painted:
        """Paint, and when that fails, try what `recovery` has left. Raises EngineError for what cannot be helped."""
        model = self._at_hand()
        limits = self._limits()
        chosen = plan(request, limits, self._times)
        attempt = Attempt(chosen.width_px, chosen.height_px, compromises=chosen.compromises)
        while True:
            outcome = self._attempt(request, chosen, attempt, on_step)
            if isinstance(outcome, Painted):
                if attempt.float32:
                    self._half.failed(time.monotonic())
                return outcome
            failure, error = outcome
            model.free()
            following = next_attempt(
                attempt,
                failure,
                limits,
                half=not model.float32,
                can_offload=model.precision.can_offload and not model.offloaded,
            )
            log.warning("a picture failed (%s), %s", failure.value, "trying otherwise" if following else "giving up")
            if following is None:
                if attempt.float32:
                    # Precision was not the reason.
                    self._compute_in_full(False)
                raise error
            if following.float32:
                self._compute_in_full(True)
            if following.offload and not model.offloaded:
                model.offload()
            if following.simpler > attempt.simpler:
                model.simplify()
            attempt = following

    def _attempt(
        self, request: PaintRequest, chosen: Plan, attempt: Attempt, on_step: OnStep
    ) -> Painted | tuple[Failure, EngineError]:
        """One try. Failures that may be helped are returned, not raised: a traceback would hold the memory."""
        from workers.engines.paint.diffusion.loading import as_engine_error

        model = self._at_hand()
        raised: list[BaseException] = []

        def reporting(step: int, steps: int, preview: Image.Image | None) -> None:
            try:
                on_step(step, steps, preview)
            except BaseException as error:
                raised.append(error)
                raise

        try:
            with model.torch.no_grad():
                return self._once(request, chosen, attempt, reporting)
        except Exception as error:
            if any(error is known for known in raised):
                raise
            told = as_engine_error(error, model.torch)
            if told.code == "engine_failed" and model.compiled:
                failure = Failure.COMPILED
            elif told.code in ("out_of_memory", "black_picture"):
                failure = Failure(told.code)
            elif told is error:
                raise
            else:
                raise told from error
            return failure, EngineError(told.code, str(told))
        finally:
            model.rest()

    def _once(self, request: PaintRequest, chosen: Plan, attempt: Attempt, on_step: OnStep) -> Painted:
        model, family = self._at_hand(), self._at_hand().family
        clock = Clock(model.device)
        clock.mark("start")
        guidance = family.guidance(request.guidance)
        guided = guidance > 1 and not family.embedded_guidance
        encoded, fresh = self._prompts.encode(request.prompt, request.negative, guided=guided)
        clock.mark("text")
        size = (attempt.width_px, attempt.height_px)
        guides = self._guides.prepare(request.references, size, guided=guided)
        generator = model.torch.Generator("cpu").manual_seed(request.seed % 2**63)
        vae = model.vae(chosen.tiny_vae)
        steps, strength, start = min(chosen.steps, family.most_steps), 1.0, None
        compromises = ["fewer_steps"] if steps < chosen.steps else []
        if guides.start is not None:
            steps, strength = steps_for(steps, guides.strength, family.most_steps)
            start = self._guides.start_latents(guides, vae, generator)
        clock.mark("guides")
        running = steps_that_run(steps, strength)
        seen = Previews(family.kind, model.device) if request.previews and running >= LEAST_STEPS else None
        done = 0

        def after_step(step: int, of: int, clean: Any) -> None:
            nonlocal done
            done = step
            latents = clean() if seen else None
            on_step(step, of, seen.of(latents) if seen and latents is not None else None)

        conditions = Conditions(encoded.text, encoded.pooled, guidance, guided, guides.images, guides.controls)
        with contextlib.ExitStack() as working:
            for control in guides.controls:
                working.enter_context(model.at_work(control.net))
            latents = self._denoiser.run(
                conditions,
                steps=steps,
                size=size,
                generator=generator,
                dtype=model.dtype,
                after_step=after_step,
                start=start,
                strength=strength,
            )
        clock.mark("denoise")
        image = self._decoded(vae, latents)
        clock.mark("decode")
        shape = (size, guided, len(guides.controls), model.adapters, model.float32)
        if not model.compiled or shape in self._shapes:
            # What takes its time for being compiled should not be learned from.
            self._learn(clock, chosen, size, done, fresh)
        self._shapes.add(shape)
        asked = _asked_size(request, attempt)
        if self._settings.finish and request.finish and chosen.tiny_vae:
            self._latest = _Latest(request.id, latents, asked or size, request.seed, done)
        return Painted(
            _sized(image, asked),
            request.seed,
            steps=done,
            compromises=list(dict.fromkeys([*attempt.compromises, *compromises, *guides.compromises])),
            timings_ms={
                stage: round(clock.between_ms(before, stage), 1)
                for before, stage in pairwise(("start", "text", "guides", "denoise", "decode"))
            },
        )

    def _decoded(self, vae: Any, latents: Any) -> Image.Image:
        """The picture of latents. Raises EngineError `black_picture` or `blocked_picture`."""
        model = self._at_hand()
        with model.at_work(vae):
            samples = decoding.decode(vae, latents)
        image = decoding.picture(samples)
        if image is None:
            raise EngineError("black_picture", "The model gave a black picture. Try another precision or model.")
        if getattr(model.pipe, "safety_checker", None) is not None:
            _, refused = model.pipe.run_safety_checker(samples, model.device, model.dtype)
            if any(refused or ()):
                raise EngineError("blocked_picture", "The model's own checker refused the picture.")
        return image

    def _finish(self, frame_id: str) -> Painted | None:
        model, latest = self._model, self._latest
        if model is None or latest is None or latest.frame_id != frame_id:
            return None
        self._latest = None
        pixels = latest.latents.shape[-1] * latest.latents.shape[-2] * 64
        tiny_ms = self._times.expect("decode", pixels)
        expected_ms = self._times.expect("decode_full", pixels) or (tiny_ms or 0.0) * FULL_OVER_TINY
        if expected_ms > FINISH_WITHIN_MS:
            return None
        clock = Clock(model.device)
        try:
            with model.torch.no_grad():
                vae = model.vae(False)
                clock.mark("start")
                image = self._decoded(vae, latest.latents)
                clock.mark("decode_full")
        except Exception as error:
            # There is a picture already, so nothing is lost.
            log.warning("a full decode failed: %s", type(error).__name__)
            model.free()
            return None
        finally:
            model.rest()
        took_ms = clock.between_ms("start", "decode_full")
        self._times.learn("decode_full", pixels, took_ms)
        return Painted(
            _sized(image, latest.size),
            latest.seed,
            steps=latest.steps,
            timings_ms={"decode_full": round(took_ms, 1)},
            peak_memory_mb=peak_memory_mb(model.device),
        )

    def _limits(self) -> Limits:
        """What this model does by itself on this host."""
        settings, model = self._settings, self._at_hand()
        family = model.family
        own_width, own_height = family.own_size
        own_steps = settings.steps or family.own_steps
        own_size = (settings.width_px or own_width, settings.height_px or own_height)
        return Limits(
            own_steps=own_steps,
            least_steps=min(own_steps, family.least_steps),
            own_size=own_size,
            least_px=min(family.least_px, *own_size),
            has_tiny=model.folder.tiny_vae is not None,
            own_tiny=settings.tiny_vae,
        )

    def _learn(self, clock: Clock, chosen: Plan, size: tuple[int, int], steps: int, fresh: bool) -> None:
        pixels = size[0] * size[1]
        if fresh:
            self._times.learn("text", 0, clock.between_ms("start", "text"))
        if steps:
            self._times.learn("step", pixels, clock.between_ms("guides", "denoise") / steps)
        stage = "decode" if chosen.tiny_vae else "decode_full"
        self._times.learn(stage, pixels, clock.between_ms("denoise", "decode"))

    def _compute_in_full(self, full: bool) -> None:
        """Change to float32 or back. What was computed before may hold what went wrong, so it is forgotten."""
        model = self._at_hand()
        model.to_float32(full)
        self._prompts.clear(model.dtype)
        self._guides.clear()

    def _at_hand(self) -> Model:
        if self._model is None:
            raise EngineError("engine_failed", "The model was unloaded meanwhile. Ask for the picture again.")
        return self._model


def _asked_size(request: PaintRequest, attempt: Attempt) -> tuple[int, int] | None:
    """The exact size that somebody wants, where the picture was not made smaller than that."""
    if request.width_px <= 0 or request.height_px <= 0 or "smaller" in attempt.compromises:
        return None
    return (request.width_px, request.height_px)


def _sized(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Models paint multiples of eight; a few pixels are scaled, not cut, so that nothing at the edge is lost."""
    return image if size is None or image.size == size else image.resize(size, Image.Resampling.LANCZOS)
