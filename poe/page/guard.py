"""Who may talk to the chat page's server: the page itself, in a browser on this machine.

Every site that is open in the same browser can send requests to loopback, and by a name that it
points at 127.0.0.1 (DNS rebinding) even read the answers. Host, Origin and Fetch Metadata
(W3C, "Fetch Metadata Request Headers") tell those requests from the page's own.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORBIDDEN = 403

# Nothing from elsewhere, no inline script or style, and HTML made of text by DOMPurify alone.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Guard:
    """The app for requests from the page on `port`; a clear 403 for all others."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        reason = self._refusal(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(reason, FORBIDDEN) if reason else self._app
        await app(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        if headers.get("host") not in self._hosts:
            return f"This server answers at http://{self._hosts[0]}/ only.\n"
        origin = headers.get("origin")
        if origin and origin.removeprefix("http://") not in self._hosts:
            return "This server answers to its own page only.\n"
        # Any site may link to the page; what another site's page fetches is refused.
        is_followed_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        from_outside = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if from_outside and not is_followed_link:
            return "This server answers to its own page only.\n"
        return None
