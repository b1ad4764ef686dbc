"""What browsers are told to refuse, on every answer: pages, pictures, static files, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

# No inline script and no inline style anywhere, the admin included: what people say, type and are called can become
# neither, even if it ever got into a page unescaped. `data:` are the previews of pictures, `blob:` chosen audio files.
POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
PERMISSIONS = "microphone=(self), camera=(), geolocation=(), display-capture=(), payment=(), usb=(), midi=()"


def content_security_policy(host: str) -> str:
    """The policy of a page at `host`. Its socket is named because Safari before 15.4 does not count it as 'self'."""
    connect = f"'self' ws://{host} wss://{host}" if host else "'self'"
    return "; ".join(f"{name} {value}" for name, value in {**POLICY, "connect-src": connect}.items())


def _guard(request: HttpRequest, response: Any) -> Any:
    try:
        host = request.get_host()
    except DisallowedHost:
        host = ""
    response.headers.setdefault("Content-Security-Policy", content_security_policy(host))
    response.headers.setdefault("Permissions-Policy", PERMISSIONS)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response


@sync_and_async_middleware
def browser_guards(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Content-Security-Policy and its smaller siblings. First in `MIDDLEWARE`, so that nothing answers without them."""
    if iscoroutinefunction(get_response):

        async def guarded_async(request: HttpRequest) -> HttpResponse:
            answer: Awaitable[HttpResponse] = get_response(request)
            return _guard(request, await answer)

        return guarded_async

    def guarded(request: HttpRequest) -> HttpResponse:
        return _guard(request, get_response(request))

    return guarded
