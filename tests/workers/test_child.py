from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.workers.fragile_engines import AbsentEngine, EchoEngine, EchoVoice, TouchyEngine
from workers.engines.base import Engine, EngineError
from workers.engines.child import hosted

SECOND = np.zeros(16_000, dtype=np.float32)
HANGS_S = 60
"""No test waits this long unless something is broken."""


@contextlib.contextmanager
def host(engine_class: type[Engine], **options: Any) -> Iterator[Any]:
    engine = hosted(engine_class, **options)  # type: ignore[type-var]
    try:
        yield engine
    finally:
        engine.unload()


def wish(number: int) -> np.ndarray:
    return np.full(16_000, number, dtype=np.float32)


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that need not be a child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], HANGS_S)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watching other processes needs Linux's pidfd")


def test_the_work_happens_in_another_process() -> None:
    with host(EchoEngine) as engine:
        pid, said, language, length, dtype = engine.transcribe(SECOND, "en").text.split()
        assert int(pid) == engine.child_pid != os.getpid()
        assert (said, language, length, dtype) == ("1", "en", "16000", "float32")


def test_the_child_stays_and_remembers() -> None:
    with host(EchoEngine) as engine:
        first, second = (engine.transcribe(SECOND, "en").text.split() for _ in range(2))
        assert first[0] == second[0]
        assert second[1] == "2"


def test_it_says_what_the_engine_is() -> None:
    with host(EchoEngine) as engine:
        engine.load()
        facts = engine.facts()
        assert (facts.name, facts.model, facts.languages) == ("echo", "none", ["en"])
        assert facts.load_ms > 0


def test_a_language_it_cannot_do_is_refused_without_starting_it() -> None:
    with host(EchoEngine) as engine:
        with pytest.raises(EngineError) as caught:
            engine.transcribe(SECOND, "ru")
        assert caught.value.code == "language_unsupported"
        assert engine.child_pid is None


def test_a_voice_engine_can_be_hosted_too() -> None:
    with host(EchoVoice) as engine:
        assert engine.dimensions == 2
        assert engine.embed(SECOND).vector == [0.6, 0.8]
        assert engine.embed(SECOND[:0]) is None


@pytest.mark.parametrize(("number", "code", "words"), [(3, "too_noisy", "speak up"), (4, "engine_failed", "division")])
def test_errors_come_back_with_their_code_and_the_child_lives(number: int, code: str, words: str) -> None:
    with host(TouchyEngine) as engine:
        engine.load()
        pid = engine.child_pid
        with pytest.raises(EngineError, match=words) as caught:
            engine.transcribe(wish(number), "en")
        assert caught.value.code == code
        assert engine.transcribe(SECOND, "en").text == "fine"
        assert engine.child_pid == pid


def test_a_model_that_is_missing_is_reported_as_the_engine_reports_it() -> None:
    with host(AbsentEngine) as engine:
        with pytest.raises(EngineError, match="not installed") as caught:
            engine.load()
        assert caught.value.code == "model_missing"


def test_a_child_that_was_killed_is_replaced() -> None:
    with host(EchoEngine) as engine:
        engine.load()
        old = engine.child_pid
        os.kill(old, signal.SIGKILL)
        assert engine.transcribe(SECOND, "en").text
        assert engine.child_pid != old


def test_an_engine_that_keeps_dying_is_an_error_and_the_next_question_is_answered() -> None:
    with host(TouchyEngine) as engine:
        with pytest.raises(EngineError, match="keeps dying") as caught:
            engine.transcribe(wish(1), "en")
        assert caught.value.code == "engine_failed"
        assert engine.transcribe(SECOND, "en").text == "fine"


@needs_pidfd
def test_a_child_that_hangs_is_ended_after_the_timeout() -> None:
    with host(TouchyEngine, timeout_s=5) as engine:
        engine.load()
        pid = engine.child_pid
        with pytest.raises(EngineError, match="longer than 5 s"):
            engine.transcribe(wish(2), "en")
        wait_until_gone(pid)
        assert engine.transcribe(SECOND, "en").text == "fine"


@needs_pidfd
def test_unloading_ends_the_child_and_the_next_use_starts_one() -> None:
    with host(EchoEngine) as engine:
        engine.load()
        pid = engine.child_pid
        engine.unload()
        wait_until_gone(pid)
        assert engine.child_pid is None
        assert engine.transcribe(SECOND, "en").text


def test_threads_take_turns() -> None:
    with host(EchoEngine) as engine, ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: engine.transcribe(SECOND, "en").text.split(), range(24)))
    assert sorted(int(said) for _, said, *_ in texts) == list(range(1, 25))


def test_the_child_outlives_the_thread_that_started_it() -> None:
    with host(EchoEngine) as engine:
        thread = threading.Thread(target=engine.load)
        thread.start()
        thread.join()
        pid = engine.child_pid
        assert engine.transcribe(SECOND, "en").text.startswith(f"{pid} 1 ")


def test_the_child_ignores_what_a_terminal_sends_to_everybody() -> None:
    with host(EchoEngine) as engine:
        engine.load()
        pid = engine.child_pid
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert engine.transcribe(SECOND, "en").text.startswith(f"{pid} 1 ")


PARENT = """
import sys, threading
import numpy as np
from tests.workers.fragile_engines import TouchyEngine
from workers.engines.child import hosted
print("main runs", flush=True)
engine = hosted(TouchyEngine)
engine.load()
threading.Thread(target=lambda: engine.transcribe(np.full(9, 2, np.float32), "en"), daemon=True).start()
print(engine.child_pid, flush=True)
sys.stdin.read()
"""


@needs_pidfd
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_child_ends_with_its_parent_even_while_it_computes(how: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdin
    assert parent.stdout
    assert parent.stdout.readline() == "main runs\n"
    pid = int(parent.stdout.readline())
    if how == "killed":
        parent.kill()
    else:
        parent.stdin.close()
    parent.wait(HANGS_S)
    wait_until_gone(pid)
    # `__main__` was run once, and nothing that the child printed got into the parent's output.
    assert parent.stdout.read() == ""


def test_what_an_engine_prints_does_not_reach_stdout() -> None:
    script = (
        "import numpy as np; from tests.workers.fragile_engines import EchoEngine; "
        "from workers.engines.child import hosted; hosted(EchoEngine).transcribe(np.zeros(9, np.float32), 'en')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "talks to stdout" in done.stderr


def test_a_class_of_main_is_refused_at_once() -> None:
    script = (
        "from tests.workers.fragile_engines import EchoEngine; from workers.engines.child import hosted\n"
        "class Mine(EchoEngine): pass\n"
        "try: hosted(Mine)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "a module that a child can import" in done.stdout
