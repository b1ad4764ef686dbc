"""Reading what clients send: nothing in it is trusted."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.utils.translation import gettext as _

from meetings.services import Refused
from meetviz_site.live.codes import CloseCode


class Closed(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code)
        self.code = code


def parse(text: str) -> dict[str, Any]:
    """A JSON object with a `type`. Raises Closed(4400) for anything else."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Closed(CloseCode.MALFORMED) from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Closed(CloseCode.MALFORMED)
    return message


def uuid_in(message: dict[str, Any], field: str) -> uuid.UUID:
    """Raises Refused for what is no uuid."""
    try:
        return uuid.UUID(text_in(message, field))
    except ValueError:
        raise Refused("bad_value", _("%(field)s must be a uuid.") % {"field": field}) from None


def text_in(message: dict[str, Any], field: str) -> str:
    """The field's text, empty where it is missing. Raises Refused for another type."""
    value = message.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("bad_value", _("%(field)s must be text.") % {"field": field})
    # JSON can spell what neither PostgreSQL nor any encoding has.
    return value.replace("\x00", "").encode("utf-8", "ignore").decode()
