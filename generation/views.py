"""Picture files, behind the same check as the room."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.files.storage import Storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from generation.models import Frame
from meetings.access import member_for
from meetings.models import Role

# A frame's file never changes under its address (a better edition has its own); private: no shared cache keeps it.
CACHE_CONTROL = "private, max-age=31536000, immutable"


@require_safe
def image(request: HttpRequest, slug: str, frame_id: uuid.UUID) -> HttpResponse:
    return _file(request, slug, frame_id, "image")


@require_safe
def thumbnail(request: HttpRequest, slug: str, frame_id: uuid.UUID) -> HttpResponse:
    return _file(request, slug, frame_id, "thumbnail")


def _file(request: HttpRequest, slug: str, frame_id: uuid.UUID, field: str) -> Any:
    """The stored WebP. 404 for everyone who is not in the meeting: who may not see it need not know it is there."""
    frame = get_object_or_404(Frame.objects.select_related("meeting"), pk=frame_id, meeting__slug=slug)
    member = member_for(request, frame.meeting)
    if member is None or (frame.hidden and member.role != Role.OWNER):
        raise Http404
    stored = getattr(frame, field)
    storage: Storage = stored.storage
    if not stored.name or not storage.exists(stored.name):
        raise Http404
    etag = f'"{frame.pk.hex}-{field}-{frame.settings.get("edition", 1)}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified(headers={"ETag": etag, "Cache-Control": CACHE_CONTROL})
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL, "X-Content-Type-Options": "nosniff"}
    return FileResponse(storage.open(stored.name), content_type="image/webp", headers=headers)
