"""What clients say about who speaks: read and checked here, decided in `meetings.corrections`."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from meetings.corrections import (
    caption_assign,
    caption_confirm,
    lines_split,
    speaker_call,
    speaker_forget,
    speakers_merge,
)
from meetings.services import Refused
from meetviz_site.live.incoming import text_in, uuid_in

if TYPE_CHECKING:
    from meetviz_site.live.consumer import LiveSocket

Message = dict[str, Any]


def _speaker_in(message: Message, field: str = "speaker") -> int:
    """Raises Refused for what is no whole number."""
    value = message.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("bad_value", _("%(field)s must be the number of a speaker.") % {"field": field})
    return value


async def _caption_assign(socket: LiveSocket, message: Message) -> None:
    speaker = _speaker_in(message) if message.get("speaker") is not None else None
    utterance, name = uuid_in(message, "utterance"), text_in(message, "new_name")
    await socket.call(caption_assign, socket.member, utterance, speaker_id=speaker, new_name=name)


async def _caption_confirm(socket: LiveSocket, message: Message) -> None:
    if not isinstance(message.get("yes"), bool):
        raise Refused("bad_value", _("yes must be true or false."))
    await socket.call(caption_confirm, socket.member, uuid_in(message, "utterance"), yes=message["yes"])


async def _speaker_rename(socket: LiveSocket, message: Message) -> None:
    await socket.call(speaker_call, socket.member, _speaker_in(message), text_in(message, "name"))


async def _speaker_merge(socket: LiveSocket, message: Message) -> None:
    await socket.call(speakers_merge, socket.member, _speaker_in(message), _speaker_in(message, "into"))


async def _speaker_split(socket: LiveSocket, message: Message) -> None:
    await socket.call(lines_split, socket.member, _lines_in(message), text_in(message, "new_name"))


async def _speaker_forget(socket: LiveSocket, message: Message) -> None:
    await socket.call(speaker_forget, socket.member, _speaker_in(message))


def _lines_in(message: Message) -> list[uuid.UUID]:
    """Raises Refused for what is no list of uuids."""
    values = message.get("utterances")
    if not isinstance(values, list):
        raise Refused("bad_value", _("utterances must be a list of uuids."))
    return [uuid_in({"utterances": value}, "utterances") for value in values]


HANDLERS: dict[str, Callable[[LiveSocket, Message], Awaitable[None]]] = {
    "caption.assign": _caption_assign,
    "caption.confirm": _caption_confirm,
    "speaker.rename": _speaker_rename,
    "speaker.merge": _speaker_merge,
    "speaker.split": _speaker_split,
    "speaker.forget": _speaker_forget,
}
