"""Who may talk to the chat page's server: a browser that opened the address that was printed.

Any site that is open in the same browser can send requests to loopback, and by a name that it
points at 127.0.0.1 (DNS rebinding) even read the answers. Host, Origin and Fetch Metadata
(W3C, "Fetch Metadata Request Headers") distinguish those requests from the page's own. Other users
of the machine can connect too, and send any headers; they don't have the token.

The token is in the printed address. The first visit turns it into a cookie and leaves for the
address without it, which stays in no bar, no history and no Referer. Cookies don't know ports, so
its name has the port.
"""

import hmac
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # in the printed address, as `/?token=…`
COOKIE = "poe-bot-page-{port}"
FORBIDDEN = 403
SEE_OTHER = 303

NO_TOKEN = "Open this page with the address that `make run` printed, which ends in ?token=…\n"

# Nothing from elsewhere, no inline script or style, and HTML only as DOMPurify returns it.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
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
    "X-Frame-Options": "DENY",
}


class Guard:
    """The app for the browser that has `token`, on `port`; a clear 403 for all others.

    is_shared   whether a GET of this path is free of the token, because the path itself is a secret
    """

    def __init__(
        self, app: ASGIApp, *, port: int, token: str, is_shared: Callable[[str], bool]
    ) -> None:
        self._app = app
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._token = token
        self._cookie = COOKIE.format(port=port)
        self._is_shared = is_shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._answer(scope) or self._app
        await app(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """A refusal, or the way to the address without the token; None for what the app answers."""
        headers = Headers(scope=scope)
        if reason := self._refusal(scope["method"], headers):
            return PlainTextResponse(reason, FORBIDDEN)
        if scope["method"] == "GET" and self._is_shared(scope["path"]):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        has_cookie = any(map(self._fits, self._cookies(headers)))
        has_token = any(self._fits(value) for name, value in query if name == TOKEN)
        if not (has_cookie or has_token):
            return PlainTextResponse(NO_TOKEN, FORBIDDEN)
        if scope["method"] == "GET" and any(name == TOKEN for name, _ in query):
            rest = urlencode([each for each in query if each[0] != TOKEN])
            path = quote("/" + scope["path"].lstrip("/"))
            return self._without_token(f"{path}?{rest}" if rest else path, headers)
        return None

    def _refusal(self, method: str, headers: Headers) -> str | None:
        if headers.get("host") not in self._hosts:
            return f"This server answers at http://{self._hosts[0]}/ only.\n"
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return "This server answers to its own page only.\n"
        # Any site may link to the page; what another site's page fetches or frames is refused.
        is_followed_link = (
            method == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest", "document") == "document"
        )
        from_outside = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if from_outside and not is_followed_link:
            return "This server answers to its own page only.\n"
        return None

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())

    def _cookies(self, headers: Headers) -> Iterator[str]:
        """Every value: another server on this machine may have set a cookie of the same name."""
        for pair in ";".join(headers.getlist("cookie")).split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self._cookie:
                yield value

    def _without_token(self, address: str, headers: Headers) -> Response:
        # Where another site's link was followed, the browser sends no strict cookie after a
        # redirect either, but it does where the page itself goes on.
        answer: Response
        if headers.get("sec-fetch-site") == "cross-site":
            answer = PlainTextResponse("", headers={"Refresh": f"0; url={address}"})
        else:
            answer = RedirectResponse(address, SEE_OTHER)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return answer
