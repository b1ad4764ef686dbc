"""Log lines that may be shown to others: no secret of an address, no values that errors quote."""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType
from typing import Any

_SECRETS = (
    (re.compile(r"(/owner/)[\w-]{16,}"), r"\1…"),  # an owner link
    (re.compile(r"\b(join|view|api)-[\w-]{32}"), r"\1-…"),  # an invite or API token
)


def without_secrets(text: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class PrivateFormatter(logging.Formatter):
    """Formats as usual, with secrets blotted out and with tracebacks that name types and places but quote no message:
    messages of errors repeat the values that caused them, and here those are what people said and are called."""

    def format(self, record: logging.LogRecord) -> str:
        # Other handlers may have left the traceback on the record in their own words.
        kept, record.exc_text = record.exc_text, None
        try:
            return without_secrets(super().format(record))
        finally:
            record.exc_text = kept

    def formatException(self, ei: Any) -> str:
        _type, error, trace = ei
        parts = []
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            parts.append(_frames(error, trace))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            trace = error.__traceback__ if error else None
        return "\nwhich came of:\n".join(parts)


def _frames(error: BaseException, trace: TracebackType | None) -> str:
    places = "".join(traceback.format_tb(trace))
    return f"Traceback:\n{places}{type(error).__module__}.{type(error).__qualname__}"
