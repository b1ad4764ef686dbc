"""What the site knows of its hosts."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Host(models.Model):
    """A process that consumes a queue, by its last heartbeat."""

    queue = models.CharField(_("queue"), max_length=20)
    name = models.CharField(_("host"), max_length=200)
    engines = models.JSONField(_("engines"), default=dict, blank=True)
    offers = models.JSONField(default=list, blank=True)
    """Real engines that it could fetch (`ModelOffer`)."""
    fetching = models.JSONField(null=True, blank=True)
    """How far it is with fetching models (`Fetching`)."""
    installed = models.JSONField(default=list, blank=True)
    """Of a paint host: names of the models that it could change to."""
    version = models.CharField(_("version"), max_length=40, blank=True)
    seen_at = models.DateTimeField(_("seen"), default=timezone.now)

    class Meta:
        verbose_name = _("host")
        verbose_name_plural = _("hosts")
        constraints = [models.UniqueConstraint(fields=["queue", "name"], name="host_once_per_queue")]

    def __str__(self) -> str:
        return f"{self.queue} @ {self.name}"
