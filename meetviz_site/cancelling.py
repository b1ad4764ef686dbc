"""Telling the paint hosts which pictures nobody wants any more.

A picture is asked of one host, through a queue; what is wanted no more is told to all of them. A message that is lost
costs some of a painter's time, nothing else: whatever comes of a cancelled frame changes nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable

from celery import current_app
from kombu import Exchange

from generation.services import frame_cancel
from meetings.access import Membership
from workers.messages import EXCHANGE_CANCEL, QUEUE_CORE

log = logging.getLogger("meetviz.pipeline")

TASK_PAINT_NEXT = "pipeline.paint_next"
_EXCHANGE = Exchange(EXCHANGE_CANCEL, type="fanout")
_CONNECTED_WITHIN_S = 4.0


def cancel(member: Membership, frame_id: uuid.UUID) -> None:
    """A person takes a picture back: its painter stops, and the next meeting has its turn. Raises Refused."""
    painted = frame_cancel(member, frame_id)
    tell_hosts(painted)
    if painted:
        current_app.send_task(TASK_PAINT_NEXT, queue=QUEUE_CORE)


def tell_hosts(frames: Iterable[uuid.UUID]) -> None:
    """Whoever paints these may stop. A frame named here is never asked for again: hosts remember it."""
    for frame in frames:
        try:
            with current_app.producer_pool.acquire(block=True, timeout=_CONNECTED_WITHIN_S) as producer:
                producer.publish(
                    {"id": str(frame)},
                    exchange=_EXCHANGE,
                    declare=[_EXCHANGE],
                    serializer="msgpack",
                    retry=True,
                    retry_policy={"max_retries": 1, "interval_start": 0.05},
                )
        except Exception as error:
            log.warning("paint hosts not told of a cancelled frame: %s", type(error).__name__)
