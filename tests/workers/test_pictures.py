"""One picture on a paint host, from the request to its editions: real painters, in this process and in a child's."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.workers.fragile_engines import EchoPainter
from workers.engines.base import EngineError, Painter
from workers.engines.child import hosted
from workers.engines.paint.poster import PosterPainter
from workers.messages import PaintProgress, PaintRequest, Reference, Scene, Thing
from workers.pictures import THUMBNAIL_WIDTH_PX, Picture, editions


@pytest.fixture(scope="module")
def poster() -> Painter:
    return PosterPainter()


@pytest.fixture
def painter(tmp_path: Path) -> Iterator[Painter]:
    """Obeys its prompt, in a child process."""
    painter = hosted(EchoPainter, {"folder": str(tmp_path)})
    yield painter
    painter.unload()


def request(prompt: str = "", **values: Any) -> PaintRequest:
    scene = Scene(title="a bridge", things=[Thing("bridge", "bridge"), Thing("river", "river")])
    base = PaintRequest(str(uuid.uuid4()), 1, prompt, "", scene, seed=11, width_px=512, height_px=288)
    return PaintRequest(**{**base.to_wire(), "scene": scene, **values})


def always(painter: Painter) -> Callable[[str], Painter]:
    return lambda model: painter


def never(frame_id: str) -> bool:
    return False


def ignore(progress: PaintProgress) -> None:
    pass


def test_a_picture_comes_with_its_thumbnail_and_all_that_is_known_of_it(painter: Painter) -> None:
    result = Picture(request(references=[Reference(b"x", "style")]), always(painter)).paint()
    assert result.error == ""
    picture, thumbnail = Image.open(io.BytesIO(result.image)), Image.open(io.BytesIO(result.thumbnail))
    assert (picture.format, picture.size) == ("WEBP", (512, 288)) == ("WEBP", (result.width_px, result.height_px))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (THUMBNAIL_WIDTH_PX, 180))
    assert (result.seed, result.steps, result.compromises) == (11, 3, ["reference_ignored"])
    assert {"load", "denoise", "paint", "encode"} <= set(result.timings_ms)
    assert (result.timings_ms["denoise"], result.peak_memory_mb) == (1.5, 42.0)
    assert result.engine is not None
    assert (result.engine.model, result.engine.device, result.engine.profile) == ("loaded", "cuda:7", "gpu-server")
    assert 0 < result.started_at <= result.painted_at


def test_the_first_picture_says_what_loading_took_and_the_next_that_it_took_nothing(painter: Painter) -> None:
    first, second = (Picture(request(), always(painter)).paint().timings_ms["load"] for _ in range(2))
    assert first > second


def test_the_painter_is_chosen_by_the_model_that_the_request_names(painter: Painter) -> None:
    asked: list[str] = []

    def choose(model: str) -> Painter:
        asked.append(model)
        return painter

    Picture(request(model="sd-turbo"), choose).paint()
    Picture(request(), choose).paint()
    assert asked == ["sd-turbo", ""]


@pytest.mark.parametrize(
    ("prompt", "code"), [("no memory", "out_of_memory"), ("breaks", "engine_failed"), ("dies always", "engine_failed")]
)
def test_what_goes_wrong_is_a_code_and_no_picture(painter: Painter, prompt: str, code: str) -> None:
    result = Picture(request(prompt), always(painter)).paint()
    assert (result.error, result.image, result.thumbnail, result.seed) == (code, b"", b"", 11)
    assert Picture(request(), always(painter)).paint().error == ""


def test_a_painter_that_cannot_be_had_is_a_code(painter: Painter) -> None:
    def choose(model: str) -> Painter:
        raise EngineError("model_missing", "install it")

    assert [result.error for result in editions(request(finish=True), ignore, never, choose)] == ["model_missing"]


def test_a_painter_that_died_once_paints_it_all_the_same(painter: Painter) -> None:
    result = Picture(request("dies once"), always(painter)).paint()
    assert (result.error, result.steps) == ("", 3)


def test_the_poster_says_that_it_took_one_step_and_left_references_out(poster: Painter) -> None:
    plain = Picture(request(), always(poster)).paint()
    assert (plain.error, plain.steps, plain.compromises) == ("", 1, [])
    assert plain.engine is not None
    assert plain.engine.demo
    leaning = Picture(request(references=[Reference(b"no image at all", "start")]), always(poster)).paint()
    assert (leaning.error, leaning.compromises) == ("", ["reference_ignored"])
    assert leaning.image == plain.image


# Cancelling


def test_a_request_that_is_cancelled_already_is_not_begun(painter: Painter) -> None:
    asked = request()

    def choose(model: str) -> Painter:
        raise AssertionError("nobody wants it")

    (result,) = editions(asked, ignore, {asked.id}.__contains__, choose)
    assert (result.id, result.error, result.image) == (asked.id, "cancelled", b"")
    assert result.painted_at >= result.started_at > 0


@pytest.mark.parametrize("kind", ["poster", "hosted"])
def test_a_picture_that_is_cancelled_meanwhile_is_left(
    kind: str, poster: Painter, painter: Painter, tmp_path: Path
) -> None:
    asked, unwanted = request(steps=5_000_000, finish=True), set[str]()
    chosen = poster if kind == "poster" else painter

    def choose(model: str) -> Painter:
        unwanted.add(asked.id)  # while the model was loaded, say
        return chosen

    (result,) = editions(asked, ignore, unwanted.__contains__, choose)
    assert (result.error, result.image) == ("cancelled", b"")
    assert Picture(request(), always(chosen)).paint().error == ""


def test_steps_are_told_while_it_paints(painter: Painter) -> None:
    told: list[PaintProgress] = []
    asked = request(previews=True, steps=3)
    (result,) = editions(asked, told.append, never, always(painter))
    assert result.error == ""
    assert {message.id for message in told} == {asked.id}
    assert (told[-1].step, told[-1].steps) == (3, 3)
    assert told[-1].preview.startswith("data:image/jpeg;base64,")


# The second edition


def test_a_second_edition_follows_where_it_is_wanted(painter: Painter) -> None:
    asked = request(finish=True)
    first, second = editions(asked, ignore, never, always(painter))
    assert (first.finished, second.finished, second.error) == (False, True, "")
    assert (second.id, second.meeting, second.started_at) == (asked.id, 1, first.started_at)
    assert second.painted_at >= first.painted_at
    assert {"decode_full", "finish", "encode"} <= set(second.timings_ms)
    assert Image.open(io.BytesIO(second.image)).size == (512, 288)
    assert second.image != first.image
    assert second.thumbnail


def test_the_first_edition_does_not_wait_for_the_second(painter: Painter) -> None:
    """It is handed over before the painter is asked for more: ending the painter in between costs the second alone."""
    results = editions(request(finish=True), ignore, never, always(painter))
    assert next(results).error == ""
    painter.unload()
    assert list(results) == []


def test_no_second_edition_unasked_or_where_there_is_none(painter: Painter, poster: Painter) -> None:
    assert len(list(editions(request(), ignore, never, always(painter)))) == 1
    assert len(list(editions(request(finish=True), ignore, never, always(poster)))) == 1


def test_no_second_edition_of_what_failed_or_was_cancelled_after_the_first(painter: Painter) -> None:
    assert len(list(editions(request("breaks", finish=True), ignore, never, always(painter)))) == 1
    asked, unwanted = request(finish=True), set[str]()
    results = editions(asked, ignore, unwanted.__contains__, always(painter))
    assert next(results).error == ""
    unwanted.add(asked.id)
    assert list(results) == []
