"""The press: a sheet of paper on which plates are laid one after another, with grain, halftones and loose register.

Masks are float32, 0 (no ink) to 1 (full ink), shape (height, width). Colours are sRGB 0–1; multiplying them stands for
transparent ink over ink, as screen printers expect it to look.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageFilter

from workers.engines.paint.poster.inks import RGB

TILE_PX = 1024
"""Side of the cached textures; larger sheets repeat them."""

Mask = np.ndarray


def _blurred(noise: np.ndarray, radius_px: float) -> np.ndarray:
    """Noise (float32, any range) smoothed without seams, as float32 with mean 0 and deviation 1."""
    pad = int(radius_px * 3) + 1
    wrapped = np.pad(noise, pad, mode="wrap")
    low, high = float(wrapped.min()), float(wrapped.max())
    image = Image.fromarray(((wrapped - low) / (high - low) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(radius_px)), dtype=np.float32)[pad:-pad, pad:-pad]
    return (soft - soft.mean()) / max(float(soft.std()), 1e-6)


@functools.cache
def _textures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ink grain (0–1, how much ink sits), paper (around 1) and edge noise (around 0), each TILE_PX², float32."""
    draw = np.random.default_rng(1729)
    white = draw.standard_normal((TILE_PX, TILE_PX), dtype=np.float32)
    fine = _blurred(white, 0.7)
    middle = _blurred(draw.standard_normal((TILE_PX, TILE_PX), dtype=np.float32), 1.6)
    coarse = _blurred(draw.standard_normal((TILE_PX // 8, TILE_PX // 8), dtype=np.float32), 2.2)
    cloud = np.kron(coarse, np.ones((8, 8), dtype=np.float32))
    cloud = _blurred(cloud, 6)
    holes = np.clip((fine * 0.55 + middle * 0.65 + cloud * 0.3 - 2.1) * 1.0, 0, 1)
    salt = np.clip(fine - 1.6, 0, 1.4) * 0.22
    grain = np.clip(1.0 - holes - salt - 0.02 * np.clip(cloud, -1, 2), 0.0, 1.0).astype(np.float32)
    paper = (1.0 + 0.011 * fine + 0.008 * middle + 0.006 * cloud).astype(np.float32)
    edge = (0.7 * middle + 0.45 * fine).astype(np.float32)
    return grain, paper, edge


def load_textures() -> None:
    """Make the textures now rather than at the first picture."""
    _textures()


def _window(tile: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    """A part of an endlessly repeated tile."""
    x, y = x % TILE_PX, y % TILE_PX
    if x + width <= TILE_PX and y + height <= TILE_PX:
        return tile[y : y + height, x : x + width]
    rows = np.arange(y, y + height) % TILE_PX
    columns = np.arange(x, x + width) % TILE_PX
    return tile[rows[:, None], columns[None, :]]


def spread(mask: Mask, radius_px: float, x: int = 0, y: int = 0) -> Mask:
    """Ink that crept under the stencil: corners rounded, edges a little rough. Same shape as `mask`."""
    if radius_px < 0.35 or min(mask.shape) < 4:
        return mask
    image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius_px))
    soft = np.asarray(image, dtype=np.float32) / 255
    height, width = soft.shape
    noise = _window(_textures()[2], x, y, width, height)
    return np.clip((soft - 0.47 + 0.045 * noise) * (2.6 * radius_px) + 0.5, 0, 1)


def screen(width: int, height: int, pitch_px: float, angle_deg: float, kind: str = "dot") -> Mask:
    """Halftone threshold 0–1: a tone `t` prints where the threshold is below it. Kinds: `dot`, `line`.

    Cosine products by outer sums: cos(ax + by) = cos ax·cos by − sin ax·sin by, so no trigonometry per pixel.
    """
    turn = math.radians(angle_deg)
    step = 2 * math.pi / pitch_px
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)

    def wave(a: float, b: float) -> np.ndarray:
        ax, by = a * step * x, b * step * y
        return np.outer(np.cos(by), np.cos(ax)) - np.outer(np.sin(by), np.sin(ax))

    first = wave(math.cos(turn), math.sin(turn))
    if kind == "line":
        return first * np.float32(0.5) + np.float32(0.5)
    second = wave(-math.sin(turn), math.cos(turn))
    first += second
    first *= np.float32(0.25)
    first += np.float32(0.5)
    return first


def halftone(tone: np.ndarray, threshold: Mask, pitch_px: float) -> Mask:
    """Dots of `tone` (broadcastable to `threshold`, 0–1), with edges about one pixel soft."""
    sharp = np.float32(max(pitch_px / 3.2, 1.5))
    mask = tone - threshold
    mask *= sharp
    mask += np.float32(0.5)
    return np.clip(mask, 0, 1, out=mask)


class Sheet:
    """One sheet in the press."""

    def __init__(self, width_px: int, height_px: int, stock: RGB, draw: np.random.Generator) -> None:
        self.width_px = width_px
        self.height_px = height_px
        self._draw = draw
        self._planes = np.empty((3, height_px, width_px), dtype=np.float32)
        for channel in range(3):
            self._planes[channel] = stock[channel]
        self._register: dict[RGB, tuple[int, int]] = {}
        self._grain_at: dict[RGB, tuple[int, int]] = {}
        self._loose_px = min(width_px, height_px) / 240
        self.trim_px = 0

    def register(self, ink: RGB) -> tuple[int, int]:
        """How far this ink's plate sits off its place: (dx, dy) in pixels, the same all over the sheet."""
        if ink not in self._register:
            turn = self._draw.uniform(0, 2 * math.pi)
            reach = self._loose_px * self._draw.uniform(0.35, 1.0)
            self._register[ink] = (round(math.cos(turn) * reach), round(math.sin(turn) * reach))
        return self._register[ink]

    def lay(
        self,
        mask: Mask,
        ink: RGB,
        x: int = 0,
        y: int = 0,
        *,
        cover: float = 1.0,
        strength: float = 1.0,
        grain: float = 1.0,
        loose: bool = True,
    ) -> None:
        """Print `mask` with its top left corner at (x, y); what falls outside the trim is cut off.

        `cover` 1 hides what is below (opaque ink), 0 multiplies with it (transparent ink).
        """
        if loose:
            dx, dy = self.register(ink)
            mask, x, y = self._bled(mask, x, y, dx, dy)
        height, width = mask.shape
        left, top = max(x, self.trim_px), max(y, self.trim_px)
        right, bottom = min(x + width, self.width_px - self.trim_px), min(y + height, self.height_px - self.trim_px)
        if right <= left or bottom <= top:
            return
        part = mask[top - y : bottom - y, left - x : right - x]
        if grain > 0:
            if ink not in self._grain_at:
                ox, oy = self._draw.integers(0, TILE_PX, 2)
                self._grain_at[ink] = (int(ox), int(oy))
            ox, oy = self._grain_at[ink]
            texture = _window(_textures()[0], left + ox, top + oy, right - left, bottom - top)
            if grain != 1.0:
                texture = texture * np.float32(grain) + np.float32(1 - grain)
            part = part * texture
        if strength != 1.0:
            part = part * np.float32(strength)
        for channel in range(3):
            plane = self._planes[channel, top:bottom, left:right]
            if cover > 0:
                over = plane * np.float32((1 - cover) * ink[channel] - 1)
                over += np.float32(cover * ink[channel])
                over *= part
                plane += over
            else:
                over = part * np.float32(ink[channel] - 1)
                over += np.float32(1)
                plane *= over

    def _bled(self, mask: Mask, x: int, y: int, dx: int, dy: int) -> tuple[Mask, int, int]:
        """The mask moved by (dx, dy); where it reached the sheet's edge it still does, by its outermost ink."""
        height, width = mask.shape
        left = dx if x <= 0 < dx else 0
        top = dy if y <= 0 < dy else 0
        right = -dx if x + width >= self.width_px and dx < 0 else 0
        bottom = -dy if y + height >= self.height_px and dy < 0 else 0
        if left or top or right or bottom:
            mask = np.pad(mask, ((top, bottom), (left, right)), mode="edge")
        return mask, x + dx - left, y + dy - top

    def sample(self, corners: list[tuple[float, float]]) -> np.ndarray:
        """Colours printed inside a parallelogram (corners in order), float32 (n, 3), n ≤ 2048."""
        (x0, y0), (x1, y1), _, (x3, y3) = corners
        along = np.linspace(0, 1, 64)[None, :]
        down = np.linspace(0, 1, 32)[:, None]
        x = np.clip((x0 + along * (x1 - x0) + down * (x3 - x0)).astype(int), 0, self.width_px - 1)
        y = np.clip((y0 + along * (y1 - y0) + down * (y3 - y0)).astype(int), 0, self.height_px - 1)
        return self._planes[:, y, x].reshape(3, -1).T

    def image(self) -> Image.Image:
        """The finished sheet as an RGB image, paper grain and all."""
        ox, oy = (int(v) for v in self._draw.integers(0, TILE_PX, 2))
        paper = _window(_textures()[1], ox, oy, self.width_px, self.height_px)
        scaled = paper * np.float32(255)
        pixels = np.empty((self.height_px, self.width_px, 3), dtype=np.uint8)
        for channel in range(3):
            plane = self._planes[channel] * scaled
            np.clip(plane, 0, 255, out=plane)
            pixels[..., channel] = plane
        return Image.fromarray(pixels)
