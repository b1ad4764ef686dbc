"""`manage.py serve_local`: what `make run` ends in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from meetviz_site.local.server import LocalServer, ServeError


class Command(BaseCommand):
    """Database, workers and web server in one process, until Ctrl-C."""

    help = "Serve MeetViz from this machine in one process (what `make run` ends in)."
    # The database is not up yet when Django would like to check it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also open a demo meeting that plays itself")

    def handle(self, *_arguments: Any, demo: bool, **_options: Any) -> None:
        server = LocalServer(
            home=settings.HOME,
            host=settings.HOST,
            port=settings.PORT,
            public_url=settings.PUBLIC_URL,
            demo=demo,
            say=lambda line: print(line, flush=True),
        )
        try:
            server.run()
        except ServeError as error:
            raise CommandError(str(error)) from error
