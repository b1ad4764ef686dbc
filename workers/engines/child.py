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

from workers.engines.base import Engine, EngineError, HeardVoices, SpeechEngine, VoiceEngine
from workers.messages import EngineFacts, Transcript, VoiceEmbedding

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from workers.engines.child import serve; serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], "
    "json.loads(sys.argv[6]))"
)
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""On two busy cores the idle threads of BLAS spin for each other: 12 s of sound took 0.6 s instead of 0.15 s."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Only `workers.models` fetches, and only when somebody asks: no library may download by itself."""
_EXIT_S = 2.0
NICENESS = 5


class ChildDied(Exception):
    """The child ended without an answer."""


class Child:
    """One child process with one engine in it; one question at a time."""

    def __init__(self, engine_class: type[Engine], options: dict[str, Any], threads: int) -> None:
        ours, theirs = Pipe(duplex=True)
        self._connection = ours
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
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


class _Hosted:
    """What the hosted engines share: a child that is started when needed and once more when it dies."""

    def __init__(self, engine_class: type[Engine], options: dict[str, Any], threads: int, timeout_s: float) -> None:
        super().__init__()
        if engine_class.__module__ == "__main__":
            raise ValueError(f"{engine_class.__qualname__} must be in a module that a child can import")
        self._engine_class = engine_class
        self._options = options
        self._threads = threads
        self._timeout_s = timeout_s
        self._asking = threading.Lock()
        self._child: Child | None = None
        # What an engine says of itself without loading anything.
        engine = engine_class(**options)
        self.name = engine.name
        self.model = engine.model
        self.device = engine.device
        self.demo = engine.demo
        self.languages = engine.languages
        self.translates = engine.translates

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
                        self._child = Child(self._engine_class, self._options, self._threads)
                        # A child that hangs while it starts would not read a large question; a small one fits.
                        self._child.ask("load", (), self._timeout_s)
                        self._learn(self._child.ask("facts", (), self._timeout_s))
                    return self._child.ask(method, arguments, self._timeout_s)
                except ChildDied:
                    self._end()
                except TimeoutError:
                    self._end()
                    message = f"{self.name} took longer than {self._timeout_s:.0f} s"
                    raise EngineError("engine_failed", message) from None
            raise EngineError("engine_failed", f"{self.name} keeps dying in its process; the log has its last words")

    def _learn(self, facts: EngineFacts) -> None:
        """What only loading shows: on which device it runs after all, what the model's files say."""
        self.device, self.languages, self.translates = facts.device, tuple(facts.languages), facts.translates

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class HostedSpeechEngine(_Hosted, SpeechEngine):
    """A SpeechEngine whose work happens in a child process."""

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        transcript: Transcript = self._ask("_transcribe", samples, language, prompt)
        return transcript

    def _interim(self, key: str, samples: np.ndarray, language: str) -> Transcript:
        transcript: Transcript = self._ask("_interim", key, samples, language)
        return transcript

    def _english(self, samples: np.ndarray, language: str) -> str:
        text: str = self._ask("_english", samples, language)
        return text


class HostedVoiceEngine(_Hosted, VoiceEngine):
    """A VoiceEngine whose work happens in a child process."""

    def __init__(
        self, engine_class: type[VoiceEngine], options: dict[str, Any], threads: int, timeout_s: float
    ) -> None:
        super().__init__(engine_class, options, threads, timeout_s)
        self.dimensions = engine_class.dimensions

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        embedding: VoiceEmbedding | None = self._ask("_embed", samples)
        return embedding

    def _listen(self, samples: np.ndarray) -> HeardVoices:
        heard: HeardVoices = self._ask("_listen", samples)
        return heard


@overload
def hosted(
    engine_class: type[SpeechEngine],
    options: dict[str, Any] | None = ...,
    *,
    threads: int = ...,
    timeout_s: float = ...,
) -> HostedSpeechEngine: ...
@overload
def hosted(
    engine_class: type[VoiceEngine], options: dict[str, Any] | None = ..., *, threads: int = ..., timeout_s: float = ...
) -> HostedVoiceEngine: ...
def hosted(
    engine_class: Any, options: dict[str, Any] | None = None, *, threads: int = 1, timeout_s: float = 60.0
) -> Any:
    """An engine of this class that works in a child process.

    `options`: the keyword arguments that make it, values that JSON can spell; making one must be cheap and load
    nothing. `threads`: of the libraries that compute in the child. `timeout_s` bounds loading and every call; a child
    that takes longer is killed and the call raises EngineError.
    """
    host: Any = HostedSpeechEngine if issubclass(engine_class, SpeechEngine) else HostedVoiceEngine
    return host(engine_class, options or {}, threads, timeout_s)


def serve(descriptor: int, parent_pid: int, module: str, qualname: str, options: dict[str, Any]) -> None:
    """Main of the child: answer until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with(parent_pid)
    # Hearing may take all of a small machine; whoever waits for the web process should not notice.
    os.nice(NICENESS)
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
                engine = target(**options)
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
