"""The hosts in the admin, and the painter that they are to use."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from generation.models import AcceptedLicence, PainterChoice
from generation.painter_choice import chosen_model
from meetviz_site.models import Host
from meetviz_site.painters import PainterForm, painter_cards
from meetviz_site.status import hosts_alive
from workers.messages import QUEUE_PAINT


@admin.register(Host)
class HostAdmin(admin.ModelAdmin):
    list_display = ("queue", "name", "version", "seen_at")
    list_filter = ("queue",)
    readonly_fields = ("queue", "name", "engines", "installed", "version", "seen_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


# Here and not in generation's admin: which hosts answer is known here, and generation does not look into this room.
@admin.register(PainterChoice)
class PainterChoiceAdmin(admin.ModelAdmin):
    """One page instead of a list: every model of the catalogue as a card, to pick from."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: PainterChoice | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        hosts = hosts_alive()
        chosen = chosen_model()
        form = PainterForm(
            request.POST or None, cards=painter_cards(chosen, hosts), initial={"model": chosen}, prefix=None
        )
        if request.method == "POST":
            if not self.has_change_permission(request):
                raise PermissionDenied
            if form.is_valid():
                return self._chosen(request, form)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": _("Painter"),
            "form": form,
            "picked": form["model"].value() or "",
            "paint_hosts": [host for host in hosts if host.queue == QUEUE_PAINT],
            "may_change": self.has_change_permission(request),
            **(extra_context or {}),
        }
        status = 400 if form.is_bound else 200
        return TemplateResponse(request, "admin/generation/painterchoice/change_list.html", context, status=status)

    def change_view(self, request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:generation_painterchoice_changelist"))

    def _chosen(self, request: HttpRequest, form: PainterForm) -> HttpResponse:
        before = chosen_model()
        accepted = form.save(request.user)
        if accepted:
            self.message_user(request, _("Licence accepted: %(models)s.") % {"models": ", ".join(accepted)})
        name = chosen_model()
        if name != before:
            said = f"{before or '-'} → {name or '-'}"
            self.log_change(request, PainterChoice.objects.get(), said)
        if name == before:
            self.message_user(request, _("The choice of painter is as it was."))
        elif not name:
            self.message_user(request, _("From the next picture on each host paints with its own choice."))
        else:
            self.message_user(request, _("From the next picture on: %(model)s.") % {"model": name})
        if name and not any(card.installed_on for card in form.cards if card.model.name == name):
            wish = _("No paint host that answers has %(model)s yet. On it: manage.py models pull %(model)s")
            self.message_user(request, wish % {"model": name}, messages.WARNING)
        return HttpResponseRedirect(request.path)


@admin.register(AcceptedLicence)
class AcceptedLicenceAdmin(admin.ModelAdmin):
    """A record, to look at."""

    list_display = ("model", "licence", "accepted_by_name", "accepted_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AcceptedLicence | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AcceptedLicence | None = None) -> bool:
        return False
