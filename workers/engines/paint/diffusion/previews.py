"""Small pictures of what the model has in mind after a step, from its predicted clean latents.

A linear map from the four latent channels to colours: 4 x 3 numbers in place of the autoencoder. On a graphics card the
copy runs beside the work, so a preview is that of the step before.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from workers.engines.paint.diffusion.families import SDXL

MOST_PX = 256
LEAST_STEPS = 3
"""With fewer steps the picture is there as soon as its preview."""

# Linear regressions of decoded pictures on their latents (scaled, as the UNet sees them); colour = latents @ factors +
# bias, in 0…1. SD 1 and 2 (their autoencoders share the encoder): Keturn in the Hugging Face forum, "Decoding latents
# to RGB without upscaling" (topic 23204), published for -1…1. SDXL: Timothy Alexis Vass, "Explaining the SDXL latent
# space" (Hugging Face blog), also in diffusers' guide to pipeline callbacks, published for 0…255.
_SD = (
    ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473)),
    (0.0, 0.0, 0.0),
)
_SDXL = (((60, 60, 60), (-60, -5, 10), (25, 15, -5), (-70, -50, -35)), (150, 140, 130))


def factors(kind: str) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """For a family's latents: (channel, colour) factors and the bias of each colour, both for colours in 0…1."""
    if kind == SDXL:
        return tuple(tuple(value / 255 for value in row) for row in _SDXL[0]), tuple(value / 255 for value in _SDXL[1])
    return tuple(tuple(value / 2 for value in row) for row in _SD[0]), tuple(value / 2 + 0.5 for value in _SD[1])


class Previews:
    """The previews of one picture."""

    def __init__(self, kind: str, device: Any) -> None:
        import torch

        matrix, bias = factors(kind)
        self._matrix = torch.tensor(matrix, dtype=torch.float32).to(device, non_blocking=True)
        self._bias = torch.tensor(bias, dtype=torch.float32).to(device, non_blocking=True)
        self._beside = device.type == "cuda"
        self._on_its_way: tuple[Any, Any] | None = None

    def of(self, clean: Any) -> Image.Image | None:
        """The preview to show now. `clean`: predicted clean latents, (1, 4, height, width)."""
        import torch

        colours = torch.einsum("chw,cr->hwr", clean[0].float(), self._matrix) + self._bias
        # NaN, which must not raise here, becomes black.
        small = (torch.nan_to_num(colours).clamp(0, 1) * 255).round().to(torch.uint8)
        if not self._beside:
            return _enlarged(small.cpu().numpy())
        before = self._on_its_way
        there = torch.empty(small.shape, dtype=torch.uint8, pin_memory=True)
        there.copy_(small, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._on_its_way = (there, copied)
        if before is None:
            return None
        before[1].synchronize()
        return _enlarged(before[0].numpy())


def _enlarged(samples: Any) -> Image.Image:
    image = Image.fromarray(samples, "RGB")
    scale = min(8.0, MOST_PX / max(image.size))
    return image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR
    )
