"""The hosts in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from meetviz_site.models import Host


@admin.register(Host)
class HostAdmin(admin.ModelAdmin):
    list_display = ("queue", "name", "version", "seen_at")
    list_filter = ("queue",)
    readonly_fields = ("queue", "name", "engines", "version", "seen_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
