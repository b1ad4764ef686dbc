"""How far a picture is, told while it is painted, without ever holding the painter up.

A thread of its own makes JPEGs of the previews and talks to the broker; of the steps that come meanwhile it tells only
the newest.
"""

from __future__ import annotations

import base64
import io
import logging
import threading
import time
from collections.abc import Callable

from PIL import Image

from workers.engines.base import Cancelled
from workers.messages import PaintProgress, PaintRequest

log = logging.getLogger("meetviz.workers")

MOST_A_SECOND = 4
"""Messages; the last step is told whenever it comes."""
LARGEST_PREVIEW_PX = 512
MOST_URL_CHARS = 50_000
PREVIEW_QUALITIES = (75, 55, 35)
LAST_WORD_WITHIN_S = 1.0
"""A broker that is slower must not keep the picture."""

_Step = tuple[int, int, Image.Image | None]


class Progress:
    """The `on_step` of one picture. A context manager: at its end the newest step has been told."""

    def __init__(
        self,
        request: PaintRequest,
        tell: Callable[[PaintProgress], None],
        is_cancelled: Callable[[str], bool] = lambda frame_id: False,
    ) -> None:
        self._request = request
        self._tell = tell
        self._is_cancelled = is_cancelled
        self._newest: _Step | None = None
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="paint-progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *what: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join(LAST_WORD_WITHIN_S)

    def on_step(self, step: int, steps: int, preview: Image.Image | None) -> None:
        """Take note of a step; returns at once. Raises Cancelled when the frame is not wanted any more."""
        if self._is_cancelled(self._request.id):
            with self._changed:
                self._newest = None
            raise Cancelled
        with self._changed:
            self._newest = (step, steps, preview)
            self._changed.notify()

    def _run(self) -> None:
        next_at = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._newest is not None)
                # What comes within this time is newer than what waits.
                self._changed.wait_for(lambda: self._over, max(0.0, next_at - time.monotonic()))
                newest, self._newest = self._newest, None
            if newest is None:
                if self._over:
                    return
                continue
            next_at = time.monotonic() + 1 / MOST_A_SECOND
            step, steps, preview = newest
            try:
                url = preview_url(preview) if preview is not None else ""
                self._tell(PaintProgress(self._request.id, self._request.meeting, step, steps, url))
            except Exception as error:
                log.warning("a step was not told: %s", type(error).__name__)


def preview_url(preview: Image.Image) -> str:
    """A small JPEG as a data URL of at most MOST_URL_CHARS; as many pixels as fit."""
    image = preview if preview.mode == "RGB" else preview.convert("RGB")
    if max(image.size) > LARGEST_PREVIEW_PX:
        image = image.copy()
        image.thumbnail((LARGEST_PREVIEW_PX, LARGEST_PREVIEW_PX), Image.Resampling.BILINEAR)
    while True:
        for quality in PREVIEW_QUALITIES:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
            if len(url) <= MOST_URL_CHARS:
                return url
        image = image.reduce(2)
