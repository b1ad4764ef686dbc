"""Uploaded images, made here as the bytes that a browser would send: good ones, odd ones and harmful ones."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageDraw

from workers.engines.base import EngineError
from workers.engines.paint.references import ENOUGH_PX, MOST_PIXELS, fit_to, open_reference

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
MEBI = 1 << 20


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Iterator[None]:
    """Nothing that Pillow warns of may get out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def corners(width: int = 80, height: int = 40) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=RED)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=BLUE)
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seen(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the four quarters, from the top left to the bottom right."""
    width, height = image.size
    return [image.getpixel((x, y)) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]  # type: ignore[misc]


def near(found: Any, wanted: Any, by: int = 12) -> bool:
    return bool(np.abs(np.asarray(found, int) - np.asarray(wanted, int)).max() <= by)


def refused(data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        open_reference(data)
    assert caught.value.code == "bad_reference"
    return str(caught.value)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header says this, as a bomb's does; there is hardly any data behind it."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# What can be opened


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"quality": 90}),
    ],
    ids=str,
)
def test_common_formats_open_as_rgb(kind: str, options: dict[str, Any]) -> None:
    image = open_reference(saved(corners(), kind, **options))
    assert (image.mode, image.size) == ("RGB", (80, 40))
    assert near(seen(image), [RED, GREEN, BLUE, WHITE], 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_a_camera_turned_is_upright(kind: str, orientation: int) -> None:
    """The file holds the picture turned, and Exif says how: opened, all are the same."""
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners()
    if orientation in undone:
        stored = stored.transpose(undone[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    image = open_reference(saved(stored, kind, exif=exif, **options))
    assert image.size == (80, 40)
    assert near(seen(image), [RED, GREEN, BLUE, WHITE], 40)


def test_broken_exif_costs_nothing_but_the_turn() -> None:
    data = saved(corners(), "JPEG", quality=95, subsampling=0, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f\x01\x02")
    assert near(seen(open_reference(data)), [RED, GREEN, BLUE, WHITE], 40)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    later = [Image.new("RGB", (80, 40), colour) for colour in (BLUE, GREEN)]
    data = saved(Image.new("RGB", (80, 40), RED), kind, save_all=True, append_images=later)
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert near(seen(open_reference(data)), [RED] * 4, 20)


def test_cmyk_is_converted() -> None:
    ink = saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95, subsampling=0)
    assert near(seen(open_reference(ink)), [RED] * 4, 20)
    assert open_reference(saved(corners().convert("CMYK"), "TIFF")).mode == "RGB"


def test_palettes_are_converted() -> None:
    flat = corners().quantize(8)
    assert seen(open_reference(saved(flat, "PNG"))) == seen(open_reference(saved(flat, "GIF")))
    assert near(seen(open_reference(saved(flat, "PNG"))), [RED, GREEN, BLUE, WHITE])


def test_one_bit_and_grey_become_rgb() -> None:
    half = Image.new("1", (80, 40), 0)
    half.paste(1, (40, 0, 80, 40))
    assert seen(open_reference(saved(half, "PNG"))) == [(0,) * 3, WHITE] * 2
    assert seen(open_reference(saved(Image.new("L", (8, 8), 77), "PNG"))) == [(77,) * 3] * 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_greys(kind: str) -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1)))
    levels = np.asarray(open_reference(saved(ramp, kind)))[8, :, 0]
    assert (levels[0], levels[-1]) == (0, 255)
    assert near(levels, np.arange(256), 1)


def test_a_depth_map_in_metres_becomes_greys() -> None:
    depth = np.tile(np.linspace(0.5, 80, 64, dtype=np.float32), (64, 1))
    depth[0, 0] = np.nan
    levels = np.asarray(open_reference(saved(Image.fromarray(depth), "TIFF")))[32, :, 0]
    assert levels[0] < 5
    assert levels[-1] == 255
    assert (np.diff(levels.astype(int)) >= 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    clear = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (40, 0, 80, 40))
    image = open_reference(saved(clear.convert(mode) if mode != "P" else clear.quantize(4), "PNG"))
    assert image.mode == "RGB"
    assert near(seen(image), [WHITE, (0, 0, 0)] * 2, 1)


def test_half_transparent_is_half_white() -> None:
    veil = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert near(seen(open_reference(saved(veil, "WEBP", lossless=True))), [(127,) * 3] * 4, 2)


def test_another_colour_space_is_brought_to_srgb() -> None:
    """In the profile of Lab, 128 and 128 are no colour: without the profile they would be."""
    lab = Image.merge("LAB", [Image.new("L", (8, 8), level) for level in (136, 128, 128)])
    grey = seen(open_reference(saved(lab, "TIFF")))
    assert near(grey, [(128,) * 3] * 4, 4)


def test_an_embedded_profile_counts(swapped_profile: bytes) -> None:
    """A profile whose red is sRGB's green: samples that say red are shown green."""
    data = saved(Image.new("RGB", (16, 16), RED), "PNG", icc_profile=swapped_profile)
    assert near(seen(open_reference(data)), [GREEN] * 4, 12)


@pytest.mark.parametrize("profile", [b"rubbish", bytes(128)])
def test_a_broken_profile_is_left_aside(profile: bytes) -> None:
    assert seen(open_reference(saved(corners(), "PNG", icc_profile=profile))) == [RED, GREEN, BLUE, WHITE]


def test_a_profile_of_another_kind_of_samples_is_left_aside() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert seen(open_reference(saved(corners(), "PNG", icc_profile=lab))) == [RED, GREEN, BLUE, WHITE]


@pytest.fixture
def swapped_profile() -> bytes:
    """sRGB's profile with its first two primaries exchanged, by the tag table of ICC.1."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * struct.unpack(">I", profile[128:132])[0], 12)
    }
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    # Its name would say that nothing need be done.
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
        .replace(b"sRGB built", b"swap built")
    )


# Large ones


def test_a_photograph_is_reduced_to_what_painters_use() -> None:
    image = open_reference(saved(corners(6000, 4500), "JPEG", quality=60))
    assert ENOUGH_PX <= min(image.size) < 2 * ENOUGH_PX
    assert image.width / image.height == pytest.approx(4 / 3, rel=0.01)
    assert near(seen(image), [RED, GREEN, BLUE, WHITE], 12)


def test_a_large_picture_without_loss_is_reduced_too() -> None:
    image = open_reference(saved(corners(6200, 4200).quantize(8), "PNG", compress_level=1))
    assert ENOUGH_PX <= min(image.size) < 2 * ENOUGH_PX
    assert near(seen(image), [RED, GREEN, BLUE, WHITE], 12)


OPENED_SMALL = """
import resource, sys
from pathlib import Path
from workers.engines.base import EngineError
from workers.engines.paint.references import open_reference
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    image = open_reference(Path(sys.argv[1]).read_bytes())
    said = f"{image.width} {image.height}"
except EngineError as error:
    said = error.code
print(said)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def opened_elsewhere(data: bytes, folder: Path) -> tuple[str, int]:
    """What became of it in a process of its own, and how many MiB its peak memory grew."""
    (folder / "upload").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPENED_SMALL, str(folder / "upload")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    said, grown = done.stdout.splitlines()
    return said, int(grown) // (MEBI if sys.platform == "darwin" else 1)


def test_a_jpeg_of_30_000_pixels_is_decoded_small(tmp_path: Path) -> None:
    """180 megapixels: Pillow alone would refuse it."""
    wide = saved(Image.new("L", (30_000, 6_000), 90), "JPEG", quality=20)
    said, grown_mib = opened_elsewhere(wide, tmp_path)
    width, height = map(int, said.split())
    assert width * height <= MOST_PIXELS
    assert (width, height) == (7_500, 1_500)
    assert grown_mib < 300


@pytest.mark.parametrize("size", [(30_000, 30_000), (30_000, 4_000), (9_000, 9_000), (2**31 - 1, 2**31 - 1)], ids=str)
def test_a_png_that_would_fill_the_memory_is_refused_by_its_header(size: tuple[int, int], tmp_path: Path) -> None:
    bomb = png_of_size(*size)
    said, grown_mib = opened_elsewhere(bomb, tmp_path)
    assert said == "bad_reference"
    assert grown_mib < 50
    assert "too large" in refused(bomb)


def test_a_progressive_jpeg_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    data = bytearray(saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 40_000, 40_000)
    said, grown_mib = opened_elsewhere(bytes(data), tmp_path)
    assert said == "bad_reference"
    assert grown_mib < 50


def test_a_webp_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """Lossless, one colour, 16,383 pixels a side: the header alone says so."""
    data = bytearray(saved(Image.new("RGB", (16, 16), RED), "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9
    flags = int.from_bytes(data[start : start + 4], "little") >> 28 << 28
    data[start : start + 4] = (16_382 | 16_382 << 14 | flags).to_bytes(4, "little")
    said, grown_mib = opened_elsewhere(bytes(data), tmp_path)
    assert said == "bad_reference"
    assert grown_mib < 100


# What cannot be opened


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_file_that_is_cut_short_is_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    whole = saved(noise, kind)
    assert "upload" in refused(whole[: int(len(whole) * share)]).lower()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file"),
        (b"hello, I am a text", "not an image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="9"/>', "SVG"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64), "HEIC"),
        (b"%PDF-1.7\n" + bytes(64), "not an image"),
        (b"PK\x03\x04" + bytes(64), "not an image"),
        (b"\x80\x04\x95" + bytes(64), "not an image"),
        (b"8BPS\x00\x01" + bytes(64), "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
    ids=["empty", "text", "svg", "svg with a preamble", "heic", "pdf", "zip", "pickle", "psd", "eps"],
)
def test_what_is_not_an_image_is_refused_with_what_to_do(data: bytes, says: str) -> None:
    message = refused(data)
    assert says in message
    assert "Save it as JPEG or PNG" in message


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]) -> None:
    refused(png_of_size(*size))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_damaged_bytes_give_a_picture_or_the_error_and_nothing_else(kind: str) -> None:
    dice = random.Random(7)
    whole = saved(corners(), kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            assert open_reference(bytes(data)).mode == "RGB"
        except EngineError as error:
            assert error.code == "bad_reference"


# Fitting


def test_an_image_covers_the_size_and_loses_its_edges() -> None:
    stripes = Image.new("RGB", (90, 30), GREEN)
    stripes.paste(RED, (0, 0, 30, 30))
    stripes.paste(BLUE, (60, 0, 90, 30))
    fitted = fit_to(stripes, 64, 64)
    assert fitted.size == (64, 64)
    assert near(seen(fitted), [GREEN] * 4, 4)
    tall = fit_to(stripes.transpose(Image.Transpose.ROTATE_90), 64, 64)
    assert near(seen(tall), [GREEN] * 4, 4)


def test_an_image_is_enlarged_where_it_must() -> None:
    fitted = fit_to(corners(8, 4), 512, 256)
    assert fitted.size == (512, 256)
    assert near(seen(fitted), [RED, GREEN, BLUE, WHITE], 12)


def test_fine_patterns_become_their_mean_and_no_moire() -> None:
    checks = np.indices((1024, 1024)).sum(axis=0) % 2 * 255
    fitted = fit_to(Image.fromarray(checks.astype(np.uint8)).convert("RGB"), 100, 100)
    assert near(np.asarray(fitted), 128, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (512, 512)])
def test_any_size_can_be_had_of_any_shape(size: tuple[int, int]) -> None:
    for shape in [(1, 1), (3, 900), (900, 3), (512, 512)]:
        assert fit_to(Image.new("RGB", shape, RED), *size).getextrema() == ((255, 255), (0, 0), (0, 0))


def test_the_size_it_has_gives_a_copy() -> None:
    image = corners()
    fitted = fit_to(image, *image.size)
    assert fitted is not image
    assert fitted.tobytes() == image.tobytes()


def test_no_size_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="0 × 5"):
        fit_to(corners(), 0, 5)
