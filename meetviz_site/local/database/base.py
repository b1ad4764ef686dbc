"""The backend that `settings.DATABASES` names when no `DATABASE_URL` is set."""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL's own backend; it only makes sure, once per process, that the embedded server runs."""

    def get_connection_params(self) -> dict[str, Any]:
        from meetviz_site.local.postgres import ensure_postgres

        server = ensure_postgres(self.settings_dict["HOME"])
        self.settings_dict.update(server.django_settings())
        return super().get_connection_params()
