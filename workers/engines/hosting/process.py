"""The parent's end: one child process with one engine in it, started, asked and ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from workers.engines.base import Engine, EngineError, OnStep
from workers.engines.hosting.wire import ASK, ERROR, STEP, STOP, packed, unpacked

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from workers.engines.hosting.serving import serve; "
    "serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], json.loads(sys.argv[6]))"
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""On two busy cores the idle threads of BLAS spin for each other: 12 s of sound took 0.6 s instead of 0.15 s."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Only `workers.models` fetches, and only when somebody asks: no library may download by itself."""
_EXIT_S = 2.0
_STEPS_OF_PATIENCE = 3


class ChildDied(Exception):
    """The child ended without an answer."""


class Interrupted(Exception):
    """`on_step` raised `reason`: to be raised in its place, whatever it is, and never mistaken for the child's end."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


class Child:
    """One child process with one engine in it; one question at a time."""

    def __init__(self, engine_class: type[Engine], options: dict[str, Any], threads: int) -> None:
        ours, theirs = Pipe(duplex=True)
        self._connection = ours
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._asked = 0
        self.ended = False
        self.owner_pid = os.getpid()
        started = threading.Event()
        # Linux sends the death signal when the *thread* that started the child ends, not the process: so a thread that
        # lives as long as the child starts it, and collects it, so that no zombie stays.
        arguments = (engine_class, options, threads, theirs, started)
        threading.Thread(target=self._keep, args=arguments, name="engine-child", daemon=True).start()
        started.wait()
        theirs.close()
        if self._failure:
            ours.close()
            raise EngineError("engine_failed", f"the engine's process does not start: {self._failure}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ours(self) -> bool:
        """False when it was ended, and in a fork of the process that started it: two must not talk to one child."""
        return not self.ended and self.owner_pid == os.getpid()

    def is_ready(self) -> bool:
        """Whether it can be asked: a child that died while nobody asked is found out here. Only between questions."""
        try:
            while self.ours and self._connection.poll(0):
                self._connection.recv_bytes()  # answers that nobody waited for, or its end
        except (EOFError, OSError):
            return False
        return self.ours

    def ask(
        self,
        method: str,
        arguments: tuple[Any, ...],
        timeout_s: float,
        on_step: OnStep | None = None,
        stop_within_s: float = 0.0,
    ) -> Any:
        """Call the engine's method; with `on_step`, which becomes its last argument there.

        `timeout_s` is how long the child may be silent. When `on_step` raises, the child stops at its next step, for
        which it has `stop_within_s` or a few steps' time; a child that does not is ended. Raises EngineError as the
        engine did, Interrupted where `on_step` raised, ChildDied, or TimeoutError.
        """
        self._asked += 1
        number = self._asked
        try:
            self._connection.send_bytes(ASK + packed((number, method, arguments, on_step is not None)))
            heard_at, longest_s = time.monotonic(), 0.0
            while True:
                kind, value = self._next(number, timeout_s)
                if kind != STEP or on_step is None:
                    break
                now = time.monotonic()
                heard_at, longest_s = now, max(longest_s, now - heard_at)
                try:
                    on_step(*value)
                except BaseException as reason:
                    self._stop(number, max(stop_within_s, _STEPS_OF_PATIENCE * longest_s))
                    raise Interrupted(reason) from reason
        except (EOFError, ConnectionError) as error:
            raise ChildDied from error
        if kind == ERROR:
            raise EngineError(*value)
        return value

    def end(self) -> None:
        """End the child now; whatever it computes is lost."""
        self.ended = True
        self._connection.close()
        process = self._process
        if process is not None and self.owner_pid == os.getpid():
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_S)

    def _next(self, number: int, timeout_s: float) -> tuple[str, Any]:
        """What the child says next to this question."""
        while True:
            if not self._connection.poll(timeout_s):
                raise TimeoutError
            to, kind, value = unpacked(self._connection.recv_bytes())
            if to == number:
                return kind, value

    def _stop(self, number: int, within_s: float) -> None:
        """Have it leave this question; afterwards it is ready for the next, or has ended."""
        deadline = time.monotonic() + within_s
        try:
            self._connection.send_bytes(STOP + packed(number))
            while self._next(number, max(0.0, deadline - time.monotonic()))[0] == STEP:
                pass
        except (EOFError, OSError):  # it died, or (TimeoutError) it goes on and on
            self.end()

    def _keep(
        self,
        engine_class: type[Engine],
        options: dict[str, Any],
        threads: int,
        theirs: Connection,
        started: threading.Event,
    ) -> None:
        path = [os.path.abspath(entry) for entry in sys.path]
        command = [sys.executable, "-c", _START, json.dumps(path), str(theirs.fileno()), str(os.getpid())]
        command += [engine_class.__module__, engine_class.__qualname__, json.dumps(options)]
        try:
            # What a library prints must not get between the lines of a command that prints JSON: stdout goes to stderr.
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**dict.fromkeys(_THREADS, str(threads)), **os.environ, **_OFFLINE},
            )
        except OSError as error:
            self._failure = error
            started.set()
            return
        self._process = process
        started.set()
        process.wait()
