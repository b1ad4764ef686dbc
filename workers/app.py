"""The broker's settings, and the Celery app of a model host: `celery -A workers.app worker -Q speech` (or `paint`).

A model host needs `REDIS_URL` and nothing else: no Django, no database.
"""

from __future__ import annotations

from celery import Celery
from kombu import Queue

from workers.environment import setting
from workers.messages import QUEUE_CORE, QUEUE_PAINT, QUEUE_SPEECH

# Above the longest task (a cold model load and a large picture on a slow CPU), the same everywhere: a task that
# outlives it would be delivered a second time while the first still runs.
VISIBILITY_TIMEOUT_S = 600


def broker_settings(redis_url: str) -> dict:
    """Celery's settings for a Redis address, or for the in-process broker when it is empty."""
    settings: dict = {
        "broker_url": redis_url or "memory://localhost/",
        "task_default_queue": QUEUE_CORE,
        "task_queues": [Queue(QUEUE_CORE), Queue(QUEUE_SPEECH), Queue(QUEUE_PAINT)],
        "task_routes": {
            "pipeline.*": {"queue": QUEUE_CORE},
            "workers.transcribe": {"queue": QUEUE_SPEECH},
            "workers.paint": {"queue": QUEUE_PAINT},
        },
        # msgpack carries samples and pictures as bytes; JSON would blow them up by a third.
        "task_serializer": "msgpack",
        "result_serializer": "msgpack",
        "accept_content": ["msgpack"],
        # Results travel as tasks of the `core` queue, so there is no result backend to lose them in.
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # Prefetch is concurrency × multiplier: one, so that work waits in the queue and not at a busy host.
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 4,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0.05, "interval_step": 0.2},
        "enable_utc": True,
    }
    if redis_url:
        settings["broker_transport_options"] = {"visibility_timeout": VISIBILITY_TIMEOUT_S}
    else:
        settings["broker_transport_options"] = {"polling_interval": 0.01}
    return settings


app = Celery("meetviz", include=["workers.tasks"])
app.conf.update(broker_settings(setting("REDIS_URL")))
