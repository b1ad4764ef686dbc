"""All addresses: the admin, the language switch, health, and the pages of the apps."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from meetviz_site import voices


def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers; whether it can work is `readyz`'s question."""
    return HttpResponse("ok", content_type="text/plain")


voice_pages = [
    path("", voices.voices, name="list"),
    path("enrol/", voices.enrol, name="enrol"),
    path("enrol/<uuid:enrolment_id>/", voices.outcome, name="outcome"),
    path("<int:speaker_id>/rename/", voices.rename, name="rename"),
    path("<int:speaker_id>/forget/", voices.forget, name="forget"),
]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", healthz, name="healthz"),
    path("voices/", include((voice_pages, "voices"))),
    path("", include("generation.urls")),
    path("", include("meetings.urls")),
]
