"""What Daphne serves: pages by Django, the live socket by `live/consumer.py`."""

from __future__ import annotations

import os
import sys
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meetviz_site.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

# After Django is set up: these import models.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from meetings.audio import vad  # noqa: E402
from meetviz_site.live.codes import CloseCode  # noqa: E402
from meetviz_site.live.consumer import live_socket  # noqa: E402

if "daphne.server" in sys.modules:
    from meetviz_site.local import sockets as daphne_sockets

    daphne_sockets.install()


async def no_such_socket(scope, receive, send):  # type: ignore[no-untyped-def]
    """Anything else under ws(s)://: an address of no meeting."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": int(CloseCode.NO_SUCH_MEETING)})


# The first sample of the first meeting should not wait for the voice activity model.
threading.Thread(target=vad.warm_up, name="warm-up-vad", daemon=True).start()

sockets = URLRouter([path("ws/meetings/<slug:slug>/", live_socket), re_path("", no_such_socket)])

application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": AuthMiddlewareStack(sockets),
    }
)
