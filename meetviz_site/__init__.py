"""Where the rooms meet: settings, URLs, the live socket, the life of a sentence (`pipeline.py`), the local server."""

from meetviz_site.celery import app as celery_app

__all__ = ["celery_app"]
