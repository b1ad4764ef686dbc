"""The Celery app of the web side: `celery -A meetviz_site worker -Q core`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meetviz_site.settings")

from django.conf import settings

app = Celery("meetviz", include=["meetviz_site.pipeline", "workers.tasks"])
# A callable: read when Celery first needs it, not while this package is being imported.
app.add_defaults(lambda: settings.CELERY)
