"""The child: an engine in an interpreter of its own, which answers until its parent is gone.

On Linux the kernel sends it SIGKILL when the parent ends, `kill -9` included; elsewhere it reads the end of the socket.
It ignores SIGINT and SIGTERM, which a terminal or a service manager sends to everybody: the parent may still need it to
drain, and ends it.
"""

from __future__ import annotations

import importlib
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from PIL import Image

from workers.engines.base import Cancelled, Engine, EngineError, Painter
from workers.engines.hosting.wire import ASK, ERROR, STEP, VALUE, packed, unpacked

_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
NICENESS = 5
"""Hearing may take all of a small machine; whoever waits for the web process should not notice."""
PAINTERS_NICENESS = 10
"""Speech goes first: beside a painter at work it gets three quarters of a core that both want."""


def serve(descriptor: int, parent_pid: int, module: str, qualname: str, options: dict[str, Any]) -> None:
    """Main of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with(parent_pid)
    os.nice(NICENESS)
    connection = Connection(descriptor)
    inbox = _Inbox(connection)
    engine: Engine | None = None
    while True:
        number, method, arguments, reports = unpacked(inbox.questions.get())
        if reports:
            arguments = (*arguments, _Steps(connection, inbox, number))
        answer: tuple[int, str, Any]
        try:
            if engine is None:
                engine = _make(module, qualname, options)
            answer = (number, VALUE, getattr(engine, method)(*arguments))
        except EngineError as error:
            answer = (number, ERROR, (error.code, str(error)))
        except Exception as error:
            answer = (number, ERROR, ("engine_failed", f"{qualname}: {type(error).__name__}: {error}"))
        connection.send_bytes(packed(answer))


class _Inbox:
    """A thread reads, so that the end of the parent and a wish to stop are seen during a long computation, too."""

    def __init__(self, connection: Connection) -> None:
        self.questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.stopped = 0
        """Number of the question that nobody wants answered."""
        self._connection = connection
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                message = self._connection.recv_bytes()
                if message[:1] == ASK:
                    self.questions.put(message[1:])
                else:
                    self.stopped = unpacked(message[1:])
        except (EOFError, OSError):
            # The main thread may be deep inside a library: leave without asking it.
            os._exit(0)


class _Steps:
    """The `on_step` of one picture: tells the parent, and stops the painter when the parent has said so."""

    def __init__(self, connection: Connection, inbox: _Inbox, number: int) -> None:
        self._connection = connection
        self._inbox = inbox
        self._number = number

    def __call__(self, step: int, steps: int, preview: Image.Image | None) -> None:
        self._check()
        self._connection.send_bytes(packed((self._number, STEP, (step, steps, preview))))
        self._check()

    def _check(self) -> None:
        if self._inbox.stopped == self._number:
            raise Cancelled


def _make(module: str, qualname: str, options: dict[str, Any]) -> Engine:
    target: Any = importlib.import_module(module)
    for part in qualname.split("."):
        target = getattr(target, part)
    if issubclass(target, Painter):
        # Of this thread, and of those that libraries start from it.
        os.nice(PAINTERS_NICENESS - NICENESS)
    engine: Engine = target(**options)
    return engine


def _die_with(parent_pid: int) -> None:
    """Ask Linux for SIGKILL when the parent ends; elsewhere the end of the socket has to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)
