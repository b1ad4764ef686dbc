"""Blocking work of the live socket (database, broker) on threads of its own.

Channels gives all consumers one thread for synchronous code; one slow query there would stop every socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from channels.db import database_sync_to_async

_pool = ThreadPoolExecutor(max_workers=6, thread_name_prefix="live")


def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]:
    """Run a synchronous function with database access; await its result."""
    return database_sync_to_async(function, thread_sensitive=False, executor=_pool)(*args, **kwargs)
