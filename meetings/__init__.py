"""Meetings, the people in them, and what was said.

May import `speakers` and `workers.messages`, never `generation` or `meetviz_site`: pages that show pictures
(start page, gallery, frame files) live in `generation/views.py`; the snapshot in `meetviz_site/live/snapshot.py`.
"""
