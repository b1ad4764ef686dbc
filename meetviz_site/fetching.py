"""Fetching real engines from the room: who may ask for it, what there is to ask for, how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import current_app
from django.utils.translation import gettext as _

from meetings.access import Membership
from meetings.models import Role
from meetings.services import Refused
from meetviz_site.models import Host
from workers.messages import QUEUE_SPEECH, TASK_FETCH_MODELS, FetchRequest

EXPIRES_S = 30.0
"""A press that no host took by then is forgotten: the button is there again."""
_AT_WORK = ("fetching", "checking")


def may_fetch(member: Membership) -> bool:
    """Only who runs the site may fill its disks: the owner of the meeting, with an account of the staff."""
    user = member.participant.user
    return member.role == Role.OWNER and user is not None and user.is_active and user.is_staff


def models_of(hosts: Iterable[Host]) -> dict[str, Any]:
    """`status.models`: what these hosts offer to fetch, and how far the one is that fetches."""
    hosts = sorted(hosts, key=lambda host: host.seen_at)
    offers = {offer["model"]: offer for host in hosts for offer in host.offers}
    told = [host.fetching for host in hosts if host.fetching]
    at_work = [fetching for fetching in told if fetching["state"] in _AT_WORK]
    return {"offers": list(offers.values()), "fetching": (at_work or told or [None])[-1]}


def models_fetch(member: Membership, wanted: Any, hosts: Iterable[Host]) -> None:
    """Ask a speech host to fetch these models (all on offer if none are named). Returns at once; raises Refused."""
    if not may_fetch(member):
        raise Refused("not_allowed", _("Only the owner of this site can fetch models."))
    models = models_of(hosts)
    offered = [offer["model"] for offer in models["offers"]]
    if wanted is None:
        wanted = offered
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in offered for name in wanted):
        raise Refused("bad_value", _("models must be a list of names that status.models offers."))
    if not wanted:
        raise Refused("nothing_to_fetch", _("There is nothing to fetch: no host here lacks a model."))
    request = FetchRequest(wanted)
    current_app.send_task(TASK_FETCH_MODELS, args=[request.to_wire()], queue=QUEUE_SPEECH, expires=EXPIRES_S)
