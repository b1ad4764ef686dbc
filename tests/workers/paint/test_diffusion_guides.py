"""References: what each does to a picture, what is kept of it, and that none ever costs the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.workers.paint.painting import painter_of, photograph, pixels, reference, request
from workers.engines.paint.diffusion.denoising import steps_for, steps_that_run
from workers.engines.paint.diffusion.edges import canny, is_drawing, scribble
from workers.engines.paint.diffusion.guides import is_grey
from workers.engines.paint.diffusion.painter import DiffusersPainter
from workers.messages import Reference

USES = ("start", "style", "subject", "depth", "canny", "scribble")


@pytest.fixture(scope="module")
def painters(whole: Path) -> dict[str, DiffusersPainter]:
    return {name: painter_of(whole / name) for name in ("sd", "xl")}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sd", "xl"])
def test_each_use_changes_the_picture_and_leaves_the_next_as_it_was(
    painters: dict[str, DiffusersPainter], model: str
) -> None:
    painter = painters[model]
    bare = pixels(painter)
    made = {use: pixels(painter, references=[reference(use)]) for use in USES}
    assert [use for use in USES if np.array_equal(made[use], bare)] == []
    assert np.array_equal(bare, pixels(painter))
    # Style has a place of its own only in SDXL's UNet.
    assert np.array_equal(made["style"], made["subject"]) == (model == "sd")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sd", "xl"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_all_uses_together_make_one_picture(painters: dict[str, DiffusersPainter], model: str, guidance: float) -> None:
    wanted = [reference(use, photograph(seed)) for seed, use in enumerate([*USES, "style", "subject"])]
    painted = painters[model].paint(request(references=wanted, guidance=guidance))
    assert (painted.image.size, painted.compromises) == ((128, 64), [])


@pytest.mark.slow
def test_strength_says_how_much_a_reference_counts(painters: dict[str, DiffusersPainter]) -> None:
    painter = painters["sd"]
    bare = pixels(painter)
    for use in ("subject", "canny"):
        assert np.array_equal(bare, pixels(painter, references=[reference(use, strength=0.0)]))
        weak, strong = (pixels(painter, references=[reference(use, strength=s)]) for s in (0.3, 1.0))
        assert not np.array_equal(weak, strong)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.01, 0.6, 7.0, float("nan"), float("inf")])
def test_a_picture_from_a_start_image_runs_at_least_one_step(
    painters: dict[str, DiffusersPainter], strength: float
) -> None:
    painted = painters["sd"].paint(request(steps=1, references=[reference("start", strength=strength)]))
    assert painted.steps >= 1
    assert painted.compromises == []


@pytest.mark.parametrize("steps", [1, 2, 4, 25])
@pytest.mark.parametrize("strength", [0.0, 0.05, 0.1, 0.29, 0.34, 0.5, 0.7, 0.99, 1.0])
def test_steps_are_raised_until_one_runs(steps: int, strength: float) -> None:
    raised, kept = steps_for(steps, strength, most=50)
    assert raised >= steps
    assert steps_that_run(raised, kept) >= 1
    assert raised == steps or steps_that_run(raised - 1, kept) < 1


@pytest.mark.slow
def test_what_is_computed_of_a_reference_is_kept_by_its_key(whole: Path) -> None:
    painter = painter_of(whole / "sd")
    painter.paint(request(references=[reference("subject"), reference("depth")]))
    assert painter._model is not None
    calls: list[str] = []
    painter._model.pipe.image_encoder.register_forward_hook(lambda *_: calls.append("image"))
    estimator = painter._model.depth_estimator()
    assert estimator is not None
    estimator[1].register_forward_hook(lambda *_: calls.append("depth"))
    first = pixels(painter, references=[reference("subject"), reference("depth")])
    assert calls == []
    nameless = [Reference(each.image, each.use, each.strength) for each in (reference("subject"), reference("depth"))]
    assert np.array_equal(first, pixels(painter, references=nameless))
    assert calls == []
    painter.paint(request(references=[reference("subject", photograph(9))]))
    assert calls == ["image"]


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
def test_an_unreadable_reference_is_left_out(painters: dict[str, DiffusersPainter], use: str) -> None:
    painter = painters["sd"]
    broken = Reference(b"no image at all", use, 0.6, f"broken-{use}")
    painted = painter.paint(request(references=[broken]))
    assert painted.compromises == ["reference_unreadable"]
    assert np.array_equal(np.asarray(painted.image), pixels(painter))


@pytest.mark.slow
def test_a_bare_model_ignores_what_it_cannot_use(models: Path) -> None:
    painter = painter_of(models / "sd")
    wanted = [reference(use) for use in ("style", "subject", "depth", "canny", "scribble", "smell")]
    painted = painter.paint(request(references=wanted))
    assert painted.compromises == ["reference_ignored"]
    assert np.array_equal(np.asarray(painted.image), pixels(painter))


@pytest.mark.slow
def test_there_is_no_ip_adapter_for_stable_diffusion_2(models: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(models / "sd2", tmp_path / "sd2"))
    shutil.copytree(models / "extras" / "sd" / "ip_adapter", folder / "meetviz" / "ip_adapter")
    painted = painter_of(folder).paint(request(references=[reference("style")]))
    assert painted.compromises == ["reference_ignored"]


@pytest.mark.slow
def test_without_an_estimator_only_a_grey_image_is_a_depth_map(whole: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(whole / "sd", tmp_path / "sd"))
    shutil.rmtree(folder / "meetviz" / "depth_estimator")
    painter = painter_of(folder)
    coloured = painter.paint(request(references=[reference("depth")]))
    grey = painter.paint(request(references=[reference("depth", photograph().convert("L"))]))
    assert (coloured.compromises, grey.compromises) == (["reference_ignored"], [])
    assert not np.array_equal(np.asarray(coloured.image), np.asarray(grey.image))


@pytest.mark.slow
def test_a_second_reference_for_the_same_control_is_ignored(painters: dict[str, DiffusersPainter]) -> None:
    for use in ("start", "canny"):
        both = [reference(use, photograph(1)), reference(use, photograph(2))]
        painted = painters["sd"].paint(request(references=both))
        assert painted.compromises == ["reference_ignored"]
        assert np.array_equal(np.asarray(painted.image), pixels(painters["sd"], references=both[:1]))


# Edges


def house(size: int = 256) -> np.ndarray:
    """A dark square on a light ground, grey."""
    image = Image.new("L", (size, size), 200)
    ImageDraw.Draw(image).rectangle((size // 4, size // 4, size * 3 // 4, size * 3 // 4), fill=60)
    return np.asarray(image)


def test_canny_draws_thin_closed_lines_where_the_brightness_changes() -> None:
    edges = canny(house())
    assert set(np.unique(edges)) == {0, 255}
    rows, columns = np.nonzero(edges)
    beside_an_edge = np.minimum(abs(rows - 64), abs(rows - 192)).clip(max=2) + 0
    beside_a_side = np.minimum(abs(columns - 64), abs(columns - 192))
    assert (np.minimum(beside_an_edge, beside_a_side) <= 1).all()
    # Four sides of 129 pixels, one pixel wide, corners rounded.
    assert 4 * 115 <= len(rows) <= 4 * 135
    assert (edges[128] > 0).sum() == 2


def test_canny_of_nothing_is_nothing() -> None:
    assert not canny(np.full((64, 96), 128, dtype=np.uint8)).any()
    noise = np.random.default_rng(0).integers(126, 130, (64, 96)).astype(np.uint8)
    assert not canny(noise).any()


def test_weak_edges_count_only_where_they_continue_strong_ones() -> None:
    fading = np.full((64, 256), 100, dtype=np.uint8)
    fading[32:] = 100 + np.linspace(90, 30, 256).astype(np.uint8)
    faint = np.full((64, 256), 100, dtype=np.uint8)
    faint[32:] = 135
    low, high = 60.0, 200.0
    whole = canny(fading, low, high).any(axis=0)
    assert whole[4:-4].all()
    assert not canny(faint, low, high).any()


def test_a_photograph_becomes_thick_strokes_and_a_drawing_stays() -> None:
    strokes, lines = scribble(house(512)), canny(house(512))
    assert (strokes > 127).sum() > 3 * (lines > 0).sum()
    assert strokes.mean() < 127
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line((20, 20, 180, 150), fill=0, width=5)
    drawing = np.asarray(sheet)
    assert is_drawing(drawing)
    assert not is_drawing(house())
    assert np.array_equal(scribble(drawing), 255 - drawing)
    assert np.array_equal(scribble(255 - drawing), 255 - drawing)
    assert not scribble(np.full((64, 64), 128, dtype=np.uint8)).any()


def test_grey_is_told_from_colour() -> None:
    assert is_grey(np.asarray(photograph().convert("L").convert("RGB")))
    assert not is_grey(np.asarray(photograph()))
