"""Drawings made of photographs, for ControlNets that follow lines: white on black.

Canny after J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8(6), 1986: Gaussian, Sobel gradient,
non-maximum suppression, hysteresis. Its thresholds are in the units of an 8-bit image under unscaled 3 x 3 Sobel
kernels, as ControlNet's training pictures used them (100 and 200).
"""

from __future__ import annotations

import numpy as np

CANNY_LOW, CANNY_HIGH = 100.0, 200.0
CANNY_SIGMA_PX = 1.0
SCRIBBLE_SIGMA_PX = 3.0
SCRIBBLE_LOW, SCRIBBLE_HIGH = 25.0, 60.0
SCRIBBLE_STROKE_PX = 7
"""At 512 px: as thick as a felt-tip, as in the scribble ControlNet's training pictures."""
_PAPER, _EXTREME = 0.97, 40
"""A drawing: this share of its pixels is within so many levels of black or of white."""


def canny(
    grey: np.ndarray, low: float = CANNY_LOW, high: float = CANNY_HIGH, sigma_px: float = CANNY_SIGMA_PX
) -> np.ndarray:
    """Edges of an 8-bit grey image: uint8, (height, width), 255 on edges of one pixel's width, else 0.

    Edges begin where the gradient is at least `high` and go on while it is at least `low`.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(grey.astype(np.float32), sigma_px, mode="nearest")
    across = ndimage.sobel(smooth, axis=1, mode="nearest")
    down = ndimage.sobel(smooth, axis=0, mode="nearest")
    strength = np.hypot(across, down)
    candidates = _ridges(strength, across, down) & (strength >= low)
    labels, count = ndimage.label(candidates, structure=np.ones((3, 3), dtype=int))
    strong = np.zeros(count + 1, dtype=bool)
    strong[labels[candidates & (strength >= high)]] = True
    strong[0] = False
    edges: np.ndarray = strong[labels].astype(np.uint8) * 255
    return edges


def scribble(grey: np.ndarray) -> np.ndarray:
    """A thick drawing of an 8-bit grey image, uint8, (height, width), 0…255; a drawing stays the drawing that it is."""
    from scipy import ndimage

    if is_drawing(grey):
        return 255 - grey if grey.mean() > 127 else grey.copy()
    scale = max(1.0, min(grey.shape) / 512)
    lines = canny(grey, SCRIBBLE_LOW / scale, SCRIBBLE_HIGH / scale, SCRIBBLE_SIGMA_PX * scale)
    radius = SCRIBBLE_STROKE_PX * scale / 2
    thick = ndimage.distance_transform_edt(lines == 0) <= radius if lines.any() else np.zeros(lines.shape, dtype=bool)
    stroke: np.ndarray = ndimage.gaussian_filter(thick.astype(np.float32) * 255, scale).round().astype(np.uint8)
    return stroke


def is_drawing(grey: np.ndarray) -> bool:
    """Whether an 8-bit grey image is nearly only black and white, and has both."""
    dark, light = grey < _EXTREME, grey > 255 - _EXTREME
    both = min(float(dark.mean()), float(light.mean()))
    return both > 0.001 and float((dark | light).mean()) >= _PAPER


def _ridges(strength: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Where the gradient is greatest along its own direction, of four: bool, (height, width)."""
    padded = np.pad(strength, 1)

    def beside(rows: int, columns: int) -> np.ndarray:
        height, width = strength.shape
        found: np.ndarray = padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]
        return found

    angle = np.rad2deg(np.arctan2(down, across)) % 180
    ridges = np.zeros(strength.shape, dtype=bool)
    # Of a plateau of equal values one side counts, or the line would be two pixels wide.
    for middle, (rows, columns) in ((0, (0, 1)), (45, (1, 1)), (90, (1, 0)), (135, (1, -1))):
        here = np.abs((angle - middle + 90) % 180 - 90) <= 22.5
        ridges |= here & (strength > beside(rows, columns)) & (strength >= beside(-rows, -columns))
    return ridges
