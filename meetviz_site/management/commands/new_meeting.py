"""`manage.py new_meeting "Title"`: a meeting and everything that outside clients need to join it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from meetings.access import TokenKind, owner_create, token_for
from meetings.models import Language
from meetings.services import meeting_create
from meetviz_site.local.instance import running_instance


class Command(BaseCommand):
    help = "Make a meeting; prints its address and its tokens. Who has a token is in: give it only to whom you mean."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("title")
        parser.add_argument("--language", choices=Language.values, default=Language.AUTO)
        parser.add_argument("--owner", help="user name of the owner; the site's owner if not given")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = owner_create()
        if options["owner"]:
            owner = get_user_model().objects.filter(username=options["owner"]).first()
            if owner is None:
                raise CommandError(_("There is no user called %(name)s.") % {"name": options["owner"]})
        meeting = meeting_create(owner=owner, title=options["title"], language=options["language"])
        running = running_instance(settings.HOME)
        address = running.url.rstrip("/") if running else settings.PUBLIC_URL
        scheme, rest = address.split("://", 1)
        answer = {
            "slug": meeting.slug,
            "url": f"{address}{meeting.get_absolute_url()}",
            "ws_url": f"{'wss' if scheme == 'https' else 'ws'}://{rest}/ws/meetings/{meeting.slug}/",
            "join_token": token_for(meeting, TokenKind.JOIN),
            "viewer_token": token_for(meeting, TokenKind.VIEW),
            "api_token": token_for(meeting, TokenKind.API),
        }
        if options["json"]:
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write("\n".join(f"{name:13} {value}" for name, value in answer.items()))
