"""Opening the images that people upload for a picture to lean on: whatever they are, they cost little and harm nothing.

Strangers' files: they may be cut short, lie about themselves, or unfold to gigabytes. The size is read from the header
before any pixel is decoded.
"""

from __future__ import annotations

import io
import threading
import warnings
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from workers.engines.base import EngineError

FORMATS = ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Beside JPEG. Pillow reads forty more, with decoders that are seldom looked at (PSD, EPS through Ghostscript …)."""
MOST_PIXELS = 30_000_000
"""Decoded: 90 MB of samples. JPEGs with more are decoded at a half, a quarter or an eighth of their size."""
MOST_PROGRESSIVE_PIXELS = 60_000_000
"""libjpeg holds all coefficients of a progressive JPEG at full size, 6 bytes a pixel, however small it is decoded."""
ENOUGH_PX = 1024
"""Along the shorter side: no painter works on more, so larger images are reduced (to less than twice this)."""

_JPEG = b"\xff\xd8\xff"
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
"""Major brands of ISO 23008-12, without AVIF's."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of Exif's orientation (CIPA DC-008, tag 0x0112)."""
_ICC_SPACES = {"RGB": "RGB ", "CMYK": "CMYK", "L": "GRAY"}
"""Mode of an image and the signature of the colour space that its ICC profile has to speak of (ICC.1:2022, 7.2.6)."""
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})
_SRGB = ImageCms.createProfile("sRGB")
_WHITE = (255, 255, 255, 255)

# Python's filter of warnings belongs to the whole process: one change at a time.
_quietly = threading.Lock()


def open_reference(data: bytes) -> Image.Image:
    """The image in an uploaded file: RGB in sRGB, upright, on white where it is transparent.

    Of an animation the first frame. Reads JPEG and FORMATS. Its shorter side is below 2 × ENOUGH_PX, whatever it was.
    Raises EngineError `bad_reference` with what to do.
    """
    try:
        with _quietly, warnings.catch_warnings():
            # Pillow warns of large images and broken metadata; here both are judged below.
            warnings.simplefilter("ignore")
            return _upright_rgb(_decoded(data))
    except EngineError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except UnidentifiedImageError as error:
        raise _unknown(data) from error
    except Exception as error:  # decoders raise all sorts over broken files: OSError, SyntaxError, struct.error …
        raise EngineError(
            "bad_reference", "The reference image is damaged or cut short. Upload the whole file again, or another one."
        ) from error


def fit_to(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    """The middle of an image at exactly this size: scaled to cover it, what hangs over is cut off.

    Raises ValueError when a side is below 1.
    """
    if width_px < 1 or height_px < 1:
        raise ValueError(f"an image cannot be {width_px} × {height_px} pixels")
    if image.size == (width_px, height_px):
        return image.copy()
    scale = max(width_px / image.width, height_px / image.height)
    width, height = min(width_px / scale, image.width), min(height_px / scale, image.height)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    # Where it shrinks to a quarter and less, a box filter first: as good to look at, and much cheaper.
    return image.resize(
        (width_px, height_px),
        Image.Resampling.LANCZOS,
        box=(left, top, left + width, top + height),
        reducing_gap=2.0,
    )


def _decoded(data: bytes) -> Image.Image:
    """Opened, judged by its header, and decoded; in whatever mode it is."""
    file = io.BytesIO(data)
    if data.startswith(_JPEG):
        # By its own name: `Image.open` refuses a large one before it can be asked to decode a smaller one.
        image: ImageFile.ImageFile = JpegImageFile(file)
        if image.info.get("progressive") and image.width * image.height > MOST_PROGRESSIVE_PIXELS:
            raise _too_large()
        divisor = _jpeg_divisor(*image.size)
        image.draft(None, (max(1, image.width // divisor), max(1, image.height // divisor)))
    else:
        image = Image.open(file, formats=FORMATS)
    if image.width < 1 or image.height < 1:
        raise EngineError("bad_reference", "The reference image has no pixels. Upload another one.")
    if image.width * image.height > MOST_PIXELS:
        raise _too_large()
    image.load()
    return image


def _jpeg_divisor(width_px: int, height_px: int) -> int:
    """By how much libjpeg may shrink while it decodes: as far as enough is left, further where it must."""
    divisor = next(d for d in (8, 4, 2, 1) if d == 1 or min(width_px, height_px) // d >= ENOUGH_PX)
    while divisor < 8 and width_px * height_px > MOST_PIXELS * divisor**2:
        divisor *= 2
    return divisor


def _upright_rgb(image: Image.Image) -> Image.Image:
    turn, profile = _turn(image), image.info.get("icc_profile")
    factor = min(image.size) // ENOUGH_PX
    if factor > 1 and image.mode in _REDUCIBLE:
        image, factor = image.reduce(factor), 1
    image = _without_alpha(_eight_bits(image))
    image = _in_srgb(image, profile)
    if factor > 1:
        image = image.reduce(factor)
    return image.transpose(turn) if turn is not None else image


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))  # type: ignore[arg-type]
    except Exception:  # broken metadata is no reason to refuse the pixels
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes of more than eight bits as `L`; the others as they are."""
    if image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint16)
        return Image.fromarray((samples >> 8).astype(np.uint8), "L")
    if image.mode in ("I", "F"):
        # Whatever unit it has (depth in metres, counts of a scanner): from its least to its most.
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
        return Image.fromarray(scaled.round().astype(np.uint8), "L")
    return image


def _without_alpha(image: Image.Image) -> Image.Image:
    """`L`, `RGB`, `CMYK` or a rarer mode without transparency: what shines through is white."""
    if image.mode == "1":
        return image.convert("L")
    grey = image.mode in ("L", "LA", "La")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", clear.size, _WHITE), clear).convert("RGB")
        return flat.getchannel("R") if grey else flat
    return image.convert("RGB") if image.mode in ("P", "PA", "RGBX") else image


def _in_srgb(image: Image.Image, profile: Any) -> Image.Image:
    if image.mode == "LAB":
        source: Any = ImageCms.createProfile("LAB")
    elif profile and image.mode in _ICC_SPACES:
        source = _usable_profile(profile, _ICC_SPACES[image.mode])
    else:
        source = None
    if source is not None:
        try:
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
        except ImageCms.PyCMSError:
            converted = None
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _usable_profile(profile: bytes, space: str) -> ImageCms.ImageCmsProfile | None:
    """The embedded profile where it can be read, speaks of this colour space, and is not sRGB anyway."""
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        same = "srgb" in (found.profile.profile_description or "").lower()
        return None if same or found.profile.xcolor_space != space else found
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None


def _unknown(data: bytes) -> EngineError:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        why = "The reference image is an empty file."
    elif start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        why = "An SVG drawing cannot be a reference."
    elif data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        why = "HEIC images cannot be read here."
    else:
        why = "The reference is not an image that can be read."
    return EngineError("bad_reference", f"{why} Save it as JPEG or PNG and upload that.")


def _too_large() -> EngineError:
    return EngineError(
        "bad_reference",
        f"The reference image is too large (at most {MOST_PIXELS // 1_000_000} megapixels). Save it smaller, "
        f"{2 * ENOUGH_PX} pixels are plenty, and upload that.",
    )
