"""Server mode as an operator runs it: PostgreSQL, Redis, and each part of MeetViz as processes of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from django.conf import settings
from psycopg import sql

from tests.sites import Process, Site, environment_for, free_port

STANDARD_POSTGRES = ("postgresql:///postgres", "postgresql://postgres@localhost:5432/postgres")
STANDARD_REDIS = "redis://localhost:6379"
CELERY = [sys.executable, "-m", "celery"]
SPEECH_HOST = ["-A", "workers.app", "worker", "-Q", "speech", "-P", "solo"]


@dataclass
class Servers(Site):
    """A site of several processes; `second_url` is the other web process."""

    second_url: str = ""
    model_host: dict[str, str] = field(default_factory=dict)
    """The environment of a model host: the broker's address and nothing else."""
    speech_host: Process | None = None

    def start_speech_host(self) -> None:
        """Another one, in place of the one that was there."""
        gone, self.speech_host = self.speech_host, Process([*CELERY, *SPEECH_HOST], self.model_host)
        if gone in self.processes:
            self.processes[self.processes.index(gone)] = self.speech_host
        else:
            self.processes.append(self.speech_host)


@contextlib.contextmanager
def own_database() -> Iterator[str]:
    """The address of an empty database: on the server of DATABASE_URL, else on what runs at the standard port if it
    has pgvector, else on an embedded one."""
    admin = _postgres_with_pgvector()
    name = f"meetviz_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(admin)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _postgres_with_pgvector() -> str:
    if given := os.environ.get("DATABASE_URL"):
        return given
    for address in STANDARD_POSTGRES:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address, connect_timeout=3) as connection:
            has = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
            may = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
            if has and may and may[0]:
                return address
    from meetviz_site.local.postgres import ensure_postgres

    return ensure_postgres(Path(settings.HOME), durable=False).dsn


@contextlib.contextmanager
def own_redis(folder: Path) -> Iterator[str]:
    """The address of an empty Redis database: what runs at the standard port, else a server of our own; else skips."""
    if address := _claimed_redis():
        try:
            yield address
        finally:
            redis.Redis.from_url(address).flushdb()
        return
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("server mode needs Redis: none answers at localhost:6379 and there is no redis-server to start")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Process([binary, *options], dict(os.environ))
    try:
        server.wait_for_line("Ready to accept connections")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.stop()


def _claimed_redis() -> str | None:
    """An empty database of the Redis at the standard port that no other run of these tests takes at the same time."""
    with contextlib.suppress(redis.RedisError):
        for number in range(15, 0, -1):
            client = redis.Redis.from_url(f"{STANDARD_REDIS}/{number}", socket_connect_timeout=2)
            if client.dbsize() == 0 and client.set("meetviz-test", os.getpid(), nx=True, ex=3600):
                return f"{STANDARD_REDIS}/{number}"
    return None


@contextlib.contextmanager
def server_site(home: Path) -> Iterator[Servers]:
    """Two web processes, one `core`, one `speech`, one `paint`: the commands of docs/architecture.md."""
    with own_database() as database_url, own_redis(home) as redis_url:
        ports = free_port(), free_port()
        shared = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "SECRET_KEY": secrets.token_urlsafe(48)}
        shared["LOG_LEVEL"] = "INFO"  # so that Daphne says when it listens
        environment = environment_for(home, ports[0], **shared)
        # A model host gets the broker's address and nothing else.
        model_host = {**environment_for(home, 0), "REDIS_URL": redis_url}
        for name in ("MEETVIZ_HOME", "PORT"):
            del model_host[name]
        site = Servers(
            f"http://localhost:{ports[0]}",
            environment,
            second_url=f"http://localhost:{ports[1]}",
            model_host=model_host,
        )
        try:
            site.manage("migrate", "--verbosity", "0")
            core, paint = ["-A", "meetviz_site", "worker", "-Q", "core"], ["-A", "workers.app", "worker", "-Q", "paint"]
            site.processes.append(Process([*CELERY, *core], environment))
            site.processes.append(Process([*CELERY, *paint, "-P", "solo"], model_host))
            site.start_speech_host()
            for port in ports:
                web = [sys.executable, "-m", "daphne", "-p", str(port), "meetviz_site.asgi:application"]
                site.processes.append(Process(web, environment))
                site.processes[-1].wait_for_line("Listening on TCP")
            yield site
        finally:
            site.stop()
