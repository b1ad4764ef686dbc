"""The one-command server: database, workers and web server in one process, from the first line to the last.

`LocalServer.run()` reads from top to bottom as the life of the process.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from meetviz_site.env import envint
from meetviz_site.local import memory, postgres
from meetviz_site.local.instance import AlreadyRunning, Instance, InstanceFile
from meetviz_site.local.process import configure_logging, end_children

logger = logging.getLogger("meetviz.server")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The largest message of the live socket is 64,016 bytes; what is above that and below this gets a polite close code
# from the consumer, what is above from `sockets.py` before it is all in memory.
MAX_MESSAGE_BYTES = 1024 * 1024
DEFAULT_MIN_FREE_MB = 200
SWITCH_S = 0.0002
EXIT_DEADLINE_S = 6.0
FORCED_EXIT_CODE = 130


class ServeError(RuntimeError):
    """The server cannot run; the message is one line that says why and what to do."""


class LocalServer:
    """One run of the server on one home folder."""

    def __init__(
        self,
        *,
        home: Path,
        host: str,
        port: int,
        public_url: str,
        demo: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.home = home
        self.hosts = [host, "::1"] if host == "127.0.0.1" else [host]
        self.port = port
        self.url = public_url
        self.demo = demo
        self.say = say
        self.instance_file = InstanceFile(home)
        self.failure = ""
        self._daphne: Any = None
        self._workers: Any = None
        self._stopping = False
        self._demo_stop = threading.Event()

    def run(self) -> None:
        """Serve until a signal says to stop. Raises ServeError when it cannot start or has to give up."""
        signals = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            self._check_disk()
            self._claim_home()
            self._check_port()
            configure_logging(self.home)
            self._start_database()
            self._migrate()
            self._serve()
        except (postgres.PostgresError, OSError) as error:
            raise ServeError(_reason(error)) from error
        finally:
            self._stopping = True
            self._end_everything()
            for number, handler in signals.items():
                signal.signal(number, handler)
        if self.failure:
            raise ServeError(self.failure)
        logger.info("stopped pid=%d", os.getpid())
        self.say(_("MeetViz has stopped."))

    # Before serving

    def _check_disk(self) -> None:
        try:
            least_mb = envint("MEETVIZ_MIN_FREE_MB", DEFAULT_MIN_FREE_MB, low=0)
        except ImproperlyConfigured as error:
            raise ServeError(str(error)) from error
        free_mb = shutil.disk_usage(self.home).free // 1_000_000
        if free_mb < least_mb:
            raise ServeError(
                _("The disk of %(home)s is full: %(free)d MB free, %(least)d MB needed. Free some space and try again.")
                % {"home": self.home, "free": free_mb, "least": least_mb}
            )

    def _claim_home(self) -> None:
        try:
            self.instance_file.claim(Instance(pid=os.getpid(), url=self.url))
        except AlreadyRunning as running:
            url = running.instance.url if running.instance else self.home
            raise ServeError(
                _("MeetViz is already running for %(home)s: open %(url)s") % {"home": self.home, "url": url}
            ) from None

    def _check_port(self) -> None:
        for host in list(self.hosts):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, self.port))
            except OSError as error:
                if host == "::1" and not _is_busy(error):
                    self.hosts.remove(host)  # a machine without IPv6
                    continue
                raise ServeError(self._port_message(error)) from error

    def _port_message(self, error: OSError) -> str:
        if _is_busy(error):
            text = _("Port %(port)d is in use by another program. Take another one: PORT=%(next)d make run")
            return text % {"port": self.port, "next": self.port + 1 if self.port < 65535 else 8000}
        return _("Cannot listen on %(host)s port %(port)d: %(reason)s") % {
            "host": self.hosts[0],
            "port": self.port,
            "reason": error.strerror,
        }

    def _start_database(self) -> None:
        from django.conf import settings

        if "HOME" in settings.DATABASES["default"]:
            postgres.ensure_postgres(self.home)

    def _migrate(self) -> None:
        """Only when something is to do: the question costs a tenth of what asking `migrate` would."""
        from django.core.management import call_command
        from django.db import connection, connections
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.say(_("Preparing the database …"))
            call_command("migrate", interactive=False, verbosity=0)
        self._owner_link = self._make_owner_link()
        connections.close_all()

    def _make_owner_link(self) -> str:
        from meetings.access import owner_link_create

        return owner_link_create(self.url)

    # Serving

    def _serve(self) -> None:
        # The sockets' loop shares Python's lock with the workers' threads: by default it would wait 5 ms for it after
        # each of its thousands of system calls a second while one of them computes.
        sys.setswitchinterval(SWITCH_S)
        # Daphne installs its reactor when it is imported; this has to come before anything else imports Twisted's.
        from daphne.endpoints import build_endpoint_description_strings
        from daphne.server import Server

        from meetviz_site.local import sockets

        sockets.install()
        application = importlib.import_module("meetviz_site.asgi").application
        local = self

        class Daphne(Server):
            """Daphne that keeps its listening ports, and tells this run when it cannot have one."""

            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                self.ports: list[Any] = []

            def listen_success(self, port: Any) -> None:
                self.ports.append(port)
                super().listen_success(port)

            def listen_error(self, failure: Any) -> None:
                local.failure = local._port_message(OSError(getattr(failure.value.socketError, "errno", 0), ""))
                self.stop()

        endpoints: list[str] = []
        for host in self.hosts:
            endpoints += build_endpoint_description_strings(host=host, port=self.port)
        self._daphne = Daphne(
            application=application,
            endpoints=endpoints,
            signal_handlers=False,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ready_callable=self._on_listening,
            server_name="meetviz",
        )
        self._daphne.run()

    def _on_listening(self) -> None:
        from twisted.internet import reactor

        self._call_in_loop = reactor.callFromThread
        # What is loaded by now stays: to look through it again and again would stop every socket for a moment.
        gc.collect()
        gc.freeze()
        if self._stopping:
            self._call_in_loop(self._begin_stop)
        self.say(_("MeetViz runs at %(url)s") % {"url": self.url})
        self.say(_("Owner link, works once: %(link)s") % {"link": self._owner_link})
        self.say(_("Stop with Ctrl-C. Data and logs are in %(home)s") % {"home": self.home})
        threading.Thread(target=self._start_workers, name="start-workers", daemon=True).start()

    def _start_workers(self) -> None:
        from meetviz_site.celery import app
        from meetviz_site.local.workers import LocalWorkers

        try:
            workers = LocalWorkers(app)
            workers.start()
            self._workers = workers
            memory.give_back_now_and_then()
            logger.info("serving url=%s pid=%d", self.url, os.getpid())
            if self.demo:
                self._play_demo()
        except Exception as error:
            if not self._stopping:
                logger.exception("The workers or the demo failed")
                if self._workers is None:
                    self.failure = _reason(error)
                    self._call_in_loop(self._begin_stop)

    def _play_demo(self) -> None:
        from meetviz_site.live.demo import play

        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        host = everywhere.get(self.hosts[0], self.hosts[0])
        near = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        play(self.url, socket_base=near, stop=self._demo_stop, say=self.say)
        if not self._stopping:
            self.say(_("The demo is over; its meeting stays open. Stop with Ctrl-C, or speak into it yourself."))

    # Stopping

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            self._force_exit()
        self._stopping = True
        if self._daphne is None:
            raise SystemExit(0 if number != signal.SIGINT else FORCED_EXIT_CODE)
        self.say(_("Stopping … (Ctrl-C again to force)"))
        with contextlib.suppress(AttributeError):  # not listening yet: `_on_listening` sees the flag
            self._call_in_loop(self._begin_stop)

    def _begin_stop(self) -> None:
        """In the server's loop: no new connections, sockets closed with 1012, workers drained, then the loop ends."""
        from twisted.internet import threads

        from meetviz_site.local import sockets

        self._stopping = True
        self._demo_stop.set()
        for listener in self._daphne.ports:
            listener.stopListening()
        closed = sockets.say_goodbye(self._daphne)
        closed.addBoth(lambda _result: threads.deferToThread(self._stop_workers))
        closed.addBoth(lambda _result: self._daphne.stop())

    def _stop_workers(self) -> None:
        if self._workers is not None and not self._workers.stop():
            logger.warning("Not every task in hand could be finished; what was spoken is sent again by the browsers.")

    def _end_everything(self) -> None:
        """After the loop: database, child processes, the instance file; then a bound on what else could hold us."""
        from django.db import connections

        connections.close_all()
        # Children first: they may use the database. It is a child too, and must not be among them.
        own_database = {server.pid for server in postgres._servers.values()}
        end_children(except_pids=own_database)
        postgres.stop_all()
        self.instance_file.release()
        # A thread stuck in a C library or a pool must not keep the process: everything that matters is done.
        guard = threading.Timer(EXIT_DEADLINE_S, os._exit, args=(1 if self.failure else 0,))
        guard.daemon = True
        guard.start()

    def _force_exit(self) -> None:
        """The second Ctrl-C: nothing is waited for, yet nothing is left behind."""
        self.say(_("Stopping at once."))

        def end() -> None:
            own_database = {server.pid for server in postgres._servers.values()}
            end_children(except_pids=own_database)
            postgres.stop_all(hurry=True)
            self.instance_file.release()

        helper = threading.Thread(target=end, daemon=True)
        helper.start()
        helper.join(5.0)
        sys.stdout.flush()
        os._exit(FORCED_EXIT_CODE)


def _is_busy(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _reason(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return _("Cannot write %(path)s. Set MEETVIZ_HOME to a folder you own.") % {"path": error.filename}
    return str(error) or type(error).__name__
