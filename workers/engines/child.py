"""Engines that live in a process of their own.

Some engines hold Python's global lock while they compute (PocketSphinx was measured to stop a whole process for 9 s),
or may take the process down with them. `hosted(PocketSphinxEngine)` is the same engine to its user, but its work
happens in a child: a fresh interpreter (never a fork of a threaded parent, never a second run of `__main__`), asked
over a socket pair with pickled messages, which only these two ever hold.

The child ends when its parent does, `kill -9` included: on Linux the kernel sends it SIGKILL, elsewhere it reads the
end of the socket. It ignores SIGINT and SIGTERM, which a terminal or a service manager sends to everybody: the parent
may still need it to drain, and ends it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, overload

import numpy as np

from workers.engines.base import Engine, EngineError, SpeechEngine, VoiceEngine
from workers.messages import Transcript, VoiceEmbedding

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from workers.engines.child import serve; serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])"
)
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""On two busy cores the idle threads of BLAS spin for each other: 12 s of sound took 0.6 s instead of 0.15 s."""
_EXIT_S = 2.0


class ChildDied(Exception):
    """The child ended without an answer."""


class Child:
    """One child process with one engine in it; one question at a time."""

    def __init__(self, engine_class: type[Engine]) -> None:
        ours, theirs = Pipe(duplex=True)
        self._connection = ours
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self.owner_pid = os.getpid()
        started = threading.Event()
        # Linux sends the death signal when the *thread* that started the child ends, not the process: so a thread that
        # lives as long as the child starts it, and collects it, so that no zombie stays.
        arguments = (engine_class, theirs, started)
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

    def ask(self, method: str, arguments: tuple[Any, ...], timeout_s: float) -> Any:
        """Call the engine's method. Raises EngineError as the engine did, ChildDied, or TimeoutError."""
        try:
            self._connection.send_bytes(pickle.dumps((method, arguments), protocol=pickle.HIGHEST_PROTOCOL))
            if not self._connection.poll(timeout_s):
                raise TimeoutError
            kind, value = pickle.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError, BrokenPipeError) as error:
            raise ChildDied from error
        if kind == "error":
            raise EngineError(*value)
        return value

    def end(self) -> None:
        """End the child now; whatever it computes is lost."""
        self._connection.close()
        process = self._process
        if process is not None and self.owner_pid == os.getpid():
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_S)

    def _keep(self, engine_class: type[Engine], theirs: Connection, started: threading.Event) -> None:
        path = [os.path.abspath(entry) for entry in sys.path]
        command = [sys.executable, "-c", _START, json.dumps(path), str(theirs.fileno()), str(os.getpid())]
        command += [engine_class.__module__, engine_class.__qualname__]
        try:
            # What a library prints must not get between the lines of a command that prints JSON: stdout goes to stderr.
            process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,
                env={**_ONE_THREAD, **os.environ},
            )
        except OSError as error:
            self._failure = error
            started.set()
            return
        self._process = process
        started.set()
        process.wait()


class _Hosted:
    """What the hosted engines share: a child that is started when needed and once more when it dies."""

    def __init__(self, engine_class: type[Engine], timeout_s: float) -> None:
        super().__init__()
        if engine_class.__module__ == "__main__":
            raise ValueError(f"{engine_class.__qualname__} must be in a module that a child can import")
        self._engine_class = engine_class
        self._timeout_s = timeout_s
        self._asking = threading.Lock()
        self._child: Child | None = None
        self.name = engine_class.name
        self.model = engine_class.model
        self.device = engine_class.device
        self.demo = engine_class.demo
        self.languages = engine_class.languages

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        child = self._child
        return child.pid if child else None

    def _load(self) -> None:
        self._ask("load")

    def _unload(self) -> None:
        with self._asking:
            self._end()

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Ask the child, with one fresh child if it dies. Raises EngineError."""
        with self._asking:
            for _ in range(2):
                if self._child is not None and self._child.owner_pid != os.getpid():
                    # This process is a fork of the one that started the child; two must not talk to one child.
                    self._child = None
                try:
                    if self._child is None:
                        self._child = Child(self._engine_class)
                        # A child that hangs while it starts would not read a large question; a small one fits.
                        self._child.ask("load", (), self._timeout_s)
                    return self._child.ask(method, arguments, self._timeout_s)
                except ChildDied:
                    self._end()
                except TimeoutError:
                    self._end()
                    message = f"{self.name} took longer than {self._timeout_s:.0f} s"
                    raise EngineError("engine_failed", message) from None
            raise EngineError("engine_failed", f"{self.name} keeps dying in its process; the log has its last words")

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class HostedSpeechEngine(_Hosted, SpeechEngine):
    """A SpeechEngine whose work happens in a child process."""

    def _transcribe(self, samples: np.ndarray, language: str) -> Transcript:
        transcript: Transcript = self._ask("transcribe", samples, language)
        return transcript


class HostedVoiceEngine(_Hosted, VoiceEngine):
    """A VoiceEngine whose work happens in a child process."""

    def __init__(self, engine_class: type[VoiceEngine], timeout_s: float) -> None:
        super().__init__(engine_class, timeout_s)
        self.dimensions = engine_class.dimensions

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        embedding: VoiceEmbedding | None = self._ask("embed", samples)
        return embedding


@overload
def hosted(engine_class: type[SpeechEngine], *, timeout_s: float = ...) -> HostedSpeechEngine: ...
@overload
def hosted(engine_class: type[VoiceEngine], *, timeout_s: float = ...) -> HostedVoiceEngine: ...
def hosted(engine_class: Any, *, timeout_s: float = 60.0) -> Any:
    """An engine of this class that works in a child process. The class is made there without arguments.

    `timeout_s` bounds loading and every call; a child that takes longer is killed and the call raises EngineError.
    """
    host: Any = HostedSpeechEngine if issubclass(engine_class, SpeechEngine) else HostedVoiceEngine
    return host(engine_class, timeout_s)


def serve(descriptor: int, parent_pid: int, module: str, qualname: str) -> None:
    """Main of the child: answer until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with(parent_pid)
    connection = Connection(descriptor)
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A thread reads, so that the end of the parent is seen during a long computation, too.
    threading.Thread(target=_read, args=(connection, questions), daemon=True).start()
    engine: Engine | None = None
    while True:
        method, arguments = pickle.loads(questions.get())
        answer: tuple[str, Any]
        try:
            if engine is None:
                target: Any = importlib.import_module(module)
                for part in qualname.split("."):
                    target = getattr(target, part)
                engine = target()
            answer = ("value", getattr(engine, method)(*arguments))
        except EngineError as error:
            answer = ("error", (error.code, str(error)))
        except Exception as error:
            answer = ("error", ("engine_failed", f"{qualname}: {type(error).__name__}: {error}"))
        connection.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))


def _read(connection: Connection, questions: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            questions.put(connection.recv_bytes())
    except (EOFError, OSError):
        # The main thread may be deep inside a library: leave without asking it.
        os._exit(0)


def _die_with(parent_pid: int) -> None:
    """Ask Linux for SIGKILL when the parent ends; elsewhere the end of the socket has to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)
