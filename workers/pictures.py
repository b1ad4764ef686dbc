"""One picture on a paint host: painted, encoded, and perhaps decoded once more in full. Errors become codes."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from workers import registry
from workers.engines.base import Cancelled, EngineError, OnStep, Painted, Painter
from workers.faults import described
from workers.messages import PaintProgress, PaintRequest, PaintResult
from workers.progress import Progress

log = logging.getLogger("meetviz.workers")

THUMBNAIL_WIDTH_PX = 320
WEBP_QUALITY = 84

_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="thumbnail")


Choose = Callable[[str], Painter]
"""The painter with a model of this name, or the one for no name. Raises EngineError."""


def editions(
    request: PaintRequest,
    tell: Callable[[PaintProgress], None],
    is_cancelled: Callable[[str], bool],
    choose: Choose | None = None,
) -> Iterator[PaintResult]:
    """The picture as soon as there is one, or why there is none; then, if wanted and possible, a better edition of it.

    The better one keeps the host from the next request for up to a second: `request.finish` says that nobody waits.
    """
    picture = Picture(request, choose)
    if is_cancelled(request.id):
        yield picture.given_up()
        return
    with Progress(request, tell, is_cancelled) as progress:
        result = picture.paint(progress.on_step)
    yield result
    if request.finish and not result.error and not is_cancelled(request.id):
        better = picture.finish()
        if better is not None:
            yield better


class Picture:
    """What is made of one request: `paint()` once, then perhaps `finish()`."""

    def __init__(self, request: PaintRequest, choose: Choose | None = None) -> None:
        self._request = request
        # Half of the time may go into waiting for the model, the other half is for the picture.
        self._choose = choose or (lambda model: registry.painter(model, within_s=request.deadline_s / 2))
        self._painter: Painter | None = None
        self._started_at = time.time()

    def paint(self, on_step: OnStep | None = None) -> PaintResult:
        """Run the painter and encode what it made."""
        result = self._blank()
        try:
            start = time.perf_counter()
            # Kept until the picture is done with: the host may change to another model meanwhile.
            self._painter = painter = self._choose(self._request.model)
            painter.load()
            loaded = time.perf_counter()
            painted = painter.paint(self._request, on_step)
            done = time.perf_counter()
            result.timings_ms = {
                "load": _ms(loaded - start),
                **painted.timings_ms,
                "paint": _ms(done - loaded),
            }
            self._fill(result, painted)
        except Cancelled as error:
            result.error = error.code
        except EngineError as error:
            log.warning("painter: %s", error.code)
            result.error = error.code
        except Exception as error:
            log.error("painter failed: %s", described(error))
            result.error = "engine_failed"
        result.painted_at = time.time()
        return result

    def given_up(self) -> PaintResult:
        """For a request that was cancelled before it was begun."""
        result = self._blank()
        result.error, result.painted_at = Cancelled().code, time.time()
        return result

    def finish(self) -> PaintResult | None:
        """The second edition, where the painter has a better one; whatever fails here, the first one stands."""
        if self._painter is None:
            return None
        result = self._blank()
        result.finished = True
        try:
            start = time.perf_counter()
            painted = self._painter.finish(self._request.id)
            if painted is None:
                return None
            result.timings_ms = {**painted.timings_ms, "finish": _ms(time.perf_counter() - start)}
            self._fill(result, painted)
        except EngineError as error:
            log.warning("painter, second edition: %s", error.code)
            return None
        except Exception as error:
            log.error("painter failed in a second edition: %s", described(error))
            return None
        result.painted_at = time.time()
        return result

    def _blank(self) -> PaintResult:
        request = self._request
        return PaintResult(id=request.id, meeting=request.meeting, seed=request.seed, started_at=self._started_at)

    def _fill(self, result: PaintResult, painted: Painted) -> None:
        start = time.perf_counter()
        # Pillow lets go of Python's lock while it encodes.
        thumbnail = _beside.submit(lambda: _webp(_thumbnail(painted.image)))
        result.image = _webp(painted.image)
        result.thumbnail = thumbnail.result()
        result.timings_ms["encode"] = _ms(time.perf_counter() - start)
        result.width_px, result.height_px = painted.image.size
        result.seed, result.steps, result.layout = painted.seed, painted.steps, painted.layout
        result.compromises = list(painted.compromises)
        result.peak_memory_mb = painted.peak_memory_mb
        # Asked for last: another engine may have taken over from one that failed.
        assert self._painter is not None
        result.engine = self._painter.facts()


def make_picture(request: PaintRequest, on_step: OnStep | None = None) -> PaintResult:
    """One picture from beginning to end; errors become codes in the result."""
    return Picture(request).paint(on_step)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _thumbnail(image: Image.Image) -> Image.Image:
    height = max(1, round(image.height * THUMBNAIL_WIDTH_PX / image.width))
    return image.resize(
        (THUMBNAIL_WIDTH_PX, height), Image.Resampling.BOX if image.width > 640 else Image.Resampling.BICUBIC
    )


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Method 2 is half of the default's time for a file 4 % larger: the picture is wanted now.
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return buffer.getvalue()
