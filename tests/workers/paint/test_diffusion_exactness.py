"""Our loop against diffusers' own pipelines, one for each combination: the same picture, bit for bit, in float32."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.paint.painting import painter_of, photograph, pixels, reference

pytestmark = pytest.mark.slow

PROMPT, NEGATIVE, SEED, STEPS = "a wooden bridge", "text", 7, 4
SIZE = (128, 64)


def theirs(pipe: Any, **asked: Any) -> np.ndarray:
    """The picture of one of diffusers' pipelines."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    values = {"width": SIZE[0], "height": SIZE[1], "guidance_scale": 7.5} | asked
    generator = torch.Generator("cpu").manual_seed(SEED)
    images = pipe(
        prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, generator=generator, **values
    ).images
    return np.asarray(images[0])


def pipeline(folder: Path, name: str, **parts: Any) -> Any:
    import diffusers

    # Threads change the order of sums; ours paint with one, too.
    return getattr(diffusers, name).from_pretrained(str(folder), local_files_only=True, **parts)


def ours(folder: Path, **asked: Any) -> np.ndarray:
    # The scheduler is the folder's own, and the autoencoder the full one.
    painter = painter_of(folder, tiny_vae=False)
    return pixels(painter, **({"steps": STEPS, "guidance": 7.5} | asked))


def class_name(model: str, what: str) -> str:
    return f"StableDiffusion{'XL' if model == 'xl' else ''}{what}Pipeline"


@pytest.fixture(params=["sd", "xl"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_text_to_image(models: Path, model: str) -> None:
    mine = ours(models / model)
    assert np.array_equal(mine, theirs(pipeline(models / model, class_name(model, ""))))


@pytest.mark.parametrize(
    "scheduler",
    [
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "LCMScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_any_scheduler(own_pipeline: Path, scheduler: str) -> None:
    import diffusers

    pipe = pipeline(own_pipeline, "StableDiffusionPipeline")
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    shutil.rmtree(own_pipeline / "scheduler")
    pipe.scheduler.save_pretrained(own_pipeline / "scheduler")
    index = own_pipeline / "model_index.json"
    index.write_text(index.read_text().replace("DDIMScheduler", scheduler))
    mine = ours(own_pipeline, previews=True)
    assert np.array_equal(mine, theirs(pipe))


def test_image_to_image(models: Path, model: str) -> None:
    start = photograph(size=SIZE)
    mine = ours(models / model, references=[reference("start", start)])
    pipe = pipeline(models / model, class_name(model, "Img2Img"))
    values = {"width": None, "height": None} if model == "xl" else {}
    if not values:
        # This class takes the size from the image alone.
        import torch

        pipe.set_progress_bar_config(disable=True)
        image = pipe(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            image=start,
            strength=0.6,
            num_inference_steps=STEPS,
            guidance_scale=7.5,
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images[0]
        assert np.array_equal(mine, np.asarray(image))
    else:
        assert np.array_equal(mine, theirs(pipe, image=start, strength=0.6, **values))


def test_controlnet(whole: Path, model: str) -> None:
    from diffusers import ControlNetModel
    from PIL import Image

    from workers.engines.paint.diffusion.edges import canny

    photo = photograph(size=SIZE)
    mine = ours(whole / model, references=[reference("canny", photo)])
    net = ControlNetModel.from_pretrained(str(whole / model / "meetviz" / "controlnet" / "canny"))
    edges = Image.fromarray(canny(np.asarray(photo.convert("L")))).convert("RGB")
    pipe = pipeline(whole / model, class_name(model, "ControlNet"), controlnet=net)
    assert np.array_equal(mine, theirs(pipe, image=edges, controlnet_conditioning_scale=0.6))


def test_two_controlnets_and_a_start_image(whole: Path, model: str) -> None:
    from diffusers import ControlNetModel
    from PIL import Image

    from workers.engines.paint.diffusion.edges import canny

    photo, near = photograph(size=SIZE), photograph(3, SIZE).convert("L").convert("RGB")
    wanted = [reference("start", photo), reference("canny", photo), reference("depth", near)]
    mine = ours(whole / model, references=wanted)
    nets = [
        ControlNetModel.from_pretrained(str(whole / model / "meetviz" / "controlnet" / use))
        for use in ("canny", "depth")
    ]
    edges = Image.fromarray(canny(np.asarray(photo.convert("L")))).convert("RGB")
    pipe = pipeline(whole / model, class_name(model, "ControlNetImg2Img"), controlnet=nets)
    scales = {"controlnet_conditioning_scale": [0.6, 0.6], "strength": 0.6}
    assert np.array_equal(mine, theirs(pipe, image=photo, control_image=[edges, near], **scales))


def test_ip_adapter(whole: Path, model: str) -> None:
    photo = photograph()
    mine = ours(whole / model, references=[reference("subject", photo, 0.8)])
    assert not np.array_equal(mine, ours(whole / model))
    pipe = pipeline(whole / model, class_name(model, ""))
    folder = str(whole / model / "meetviz" / "ip_adapter")
    pipe.load_ip_adapter(folder, subfolder="", weight_name="ip-adapter_tiny.safetensors", local_files_only=True)
    pipe.set_ip_adapter_scale(0.8)
    assert np.array_equal(mine, theirs(pipe, ip_adapter_image=photo))


def test_a_consistency_model_that_takes_guidance_as_an_input(tmp_path: Path) -> None:
    from diffusers import LCMScheduler

    from tests.workers.tiny_models import save_tiny_pipeline, tiny_scheduler

    scheduler = LCMScheduler.from_config(tiny_scheduler().config)
    unet = {"time_cond_proj_dim": 8}
    folder = save_tiny_pipeline(tmp_path / "lcm", tmp_path / "scratch", unet=unet, scheduler=scheduler)
    mine = ours(folder, guidance=6.0)
    assert not np.array_equal(mine, ours(folder, guidance=2.0))
    assert np.array_equal(mine, theirs(pipeline(folder, "StableDiffusionPipeline"), guidance_scale=6.0))


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "LCMScheduler",
    ],
)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_previews_show_the_clean_picture_and_not_the_noise(name: str, prediction: str) -> None:
    """A UNet that always knows the right answer: whatever the noise, the clean latents are those of its picture."""
    import diffusers
    import torch

    from tests.workers.tiny_models import tiny_scheduler
    from workers.engines.paint.diffusion.denoising import Conditions, Denoiser

    # What one class has by default is not handed over to another.
    known = tiny_scheduler(beta_start=0.001, beta_end=0.012)
    scheduler = getattr(diffusers, name).from_config(known.config, prediction_type=prediction)
    truth = torch.linspace(-1, 1, 4 * 8 * 8).reshape(1, 4, 8, 8)

    class Oracle(torch.nn.Module):
        config = type("Config", (), {"in_channels": 4})

        def forward(self, seen: Any, timestep: Any, **_: Any) -> tuple[Any]:
            alpha = known.alphas_cumprod[int(timestep)]
            noise = (seen - alpha**0.5 * truth) / (1 - alpha) ** 0.5
            return (noise if prediction == "epsilon" else alpha**0.5 * noise - (1 - alpha) ** 0.5 * truth,)

    clean: list[Any] = []
    Denoiser(Oracle(), scheduler, torch.device("cpu")).run(
        Conditions(torch.zeros(1, 1, 1)),
        steps=6,
        size=(64, 64),
        generator=torch.Generator("cpu").manual_seed(0),
        dtype=torch.float32,
        after_step=lambda step, steps, predicted: clean.append(predicted()),
    )
    # LCM mixes a little of the noisy latents in, by its boundary condition.
    assert [torch.allclose(latents, truth, atol=0.05) for latents in clean] == [True] * len(clean)
    assert len(clean) >= 6
