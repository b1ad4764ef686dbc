"""Many open microphones at one web process: 200 people with a socket each, 4 of whom speak at any time.

The site is the one-command server, the load a process of its own; what was sent is compared with what the database
holds for good.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
from pathlib import Path

import psutil

from tests.bench.figures import Figure, percentile
from tests.load import Load, Outcome, Plan, Stored, stored
from tests.sites import Site, local_site

STREAMS = 200
SPEAKING = 4
MEETINGS = 10
SECONDS = 150.0
WARM_UP_S = 40.0


class Watch:
    """Memory and CPU time of one process while something runs, looked at once a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.rss_mb: list[float] = []
        self.cpu_s: list[float] = []
        self.beside_share = 0.0
        """CPU seconds per second of the load."""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            while not self._done.wait(1.0):
                times, memory = self._process.cpu_times(), self._process.memory_info()
                self.cpu_s.append(times.user + times.system)
                self.rss_mb.append(memory.rss / 2**20)

    def core_share(self) -> float:
        """CPU seconds per second after the warm-up."""
        kept = self.cpu_s[int(WARM_UP_S) :]
        return (kept[-1] - kept[0]) / (len(kept) - 1)

    def growth_mb(self) -> float:
        """Of the median memory from the first to the last fifth of the time after the warm-up."""
        kept = self.rss_mb[int(WARM_UP_S) :]
        fifth = max(1, len(kept) // 5)
        return statistics.median(kept[-fifth:]) - statistics.median(kept[:fifth])


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meetviz-bench-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir(mode=0o711)
        with local_site(home) as site:
            outcome, watch = _load(site)
            return _figures(outcome, watch, stored(site))


def _load(site: Site) -> tuple[Outcome, Watch]:
    load = Load(Plan(site.new_meetings(MEETINGS), STREAMS, SPEAKING, SECONDS))
    try:
        load.wait_until_all_are_open()
        with Watch(site.processes[0].pid) as watch, Watch(load.pid) as beside:
            outcome = load.wait()
        watch.beside_share = beside.core_share()
        return outcome, watch
    except RuntimeError as error:
        said = "\n".join(site.processes[0].lines[-40:])
        state = "still runs" if site.processes[0].is_running else "has ended"
        raise RuntimeError(f"{error}; the site {state} and said last:\n{said}") from error
    finally:
        load.stop()


def _figures(outcome: Outcome, watch: Watch, kept: Stored) -> list[Figure]:
    count = len(outcome.microphones)
    sent = sum(m.sent_samples for m in outcome.microphones)
    what = f"{count} people with a socket each, {SPEAKING} speak, {SECONDS:.0f} s, load on the same cores"
    phantoms = sum(m.captions for m in outcome.silent)
    seconds = len(watch.rss_mb)
    again = sum(m.connections - 1 for m in outcome.microphones)
    return [
        Figure(
            "open_streams_lost_samples",
            kept.lost_samples(outcome),
            "samples",
            "lower",
            0,
            sent,
            f"sent but not durable in the database, gaps included; {what}; {kept.words} words written down",
        ),
        percentile(
            "ack_ms_p95", outcome.ack_ms, 95, "ms", target=250, note="message sent to the ack of what it settles"
        ),
        percentile("ack_ms_p50", outcome.ack_ms, 50, "ms", note="the same"),
        Figure(
            "open_streams_phantoms", phantoms, "captions", "lower", 0, count - SPEAKING, "from microphones nobody uses"
        ),
        Figure("open_streams_reconnects", again, "", "lower", 0, count, "connections lost on the way"),
        Figure("rss_growth", round(watch.growth_mb(), 1), "MB", "lower", 20, seconds, f"after {WARM_UP_S:.0f} s"),
        Figure(
            "web_rss_mb", round(max(watch.rss_mb)), "MB", "lower", None, seconds, "the site's process at its largest"
        ),
        Figure(
            "web_core_share",
            round(watch.core_share(), 2),
            "cores",
            "lower",
            None,
            seconds,
            "of the site's process: sockets, voice activity, database writes, painting; not the engines' processes; "
            f"the load itself takes {watch.beside_share:.2f}",
        ),
    ]
