"""Lets a request through only if it comes from the console's own page, in the browser that was given the token.

A page of another site can make a browser send requests to loopback. It cannot choose their Host (so a name that it lets
resolve to 127.0.0.1 is refused), nor their Origin, and it does not know the token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from urllib.parse import unquote, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOGGER = logging.getLogger("batch_processor_client.console")
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
FROM_OUR_PAGE = frozenset({"", "same-origin", "none"})
"""Values of Sec-Fetch-Site. ``none`` is an address that a person typed or a terminal opened."""
POLICY = {
    # Nothing but this server's own files: no inline script or style, no other site, no frame around the page.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send "Origin: null" with a form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Secret:
    """The token of one console, and what derives from it."""

    def __init__(self, token: str, port: int) -> None:
        self._token = token
        self.cookie = f"batch_processor_console_{port}"
        """A browser sends a cookie to every port of a host: with the port in its name, two consoles do not collide."""
        self.form_token = hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()
        """A field of each form. A request without it changes nothing."""

    def is_token(self, text: str) -> bool:
        return self.same(self._token, text)

    @staticmethod
    def same(expected: str, given: str) -> bool:
        """Compare in a time that says nothing about where two texts differ."""
        return hmac.compare_digest(expected.encode(), given.encode())


class Guard:
    """Answers 403 to what is not allowed, logs it without secrets, and sets the headers of ``POLICY``."""

    def __init__(self, app: ASGIApp, secret: Secret, port: int) -> None:
        self._app = app
        self._secret = secret
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # the console has none; a server answers 403 to this
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        refusal = self._refusal(request)
        answer: Response | None = None
        if refusal:
            LOGGER.warning("refused %s %.200r: %s", request.method, request.url.path, refusal)
            answer = PlainTextResponse(f"403: {refusal}.\n", status_code=403)
        elif "token" in request.query_params:
            answer = self._enter(request)
        await (answer or self._app)(scope, receive, _with_policy(send))

    def _refusal(self, request: Request) -> str:
        """Why the request is refused; "" if it is not."""
        headers = request.headers
        origin = headers.get("origin")
        if headers.get("host", "") not in self._hosts or len(headers.getlist("host")) != 1:
            return "this is not the address of the console"
        if origin is not None and origin not in self._origins:
            return "the request comes from another page"
        if headers.get("sec-fetch-site", "") not in FROM_OUR_PAGE:
            return "the request comes from another site"
        if origin is None and request.method in CHANGING:
            return "the request does not say which page it comes from"
        if _climbs(request.scope):
            return "the path leaves its folder"
        given = request.query_params.get("token") or request.cookies.get(self._secret.cookie, "")
        if not self._secret.is_token(given):
            return "open the address that the terminal shows; it has the token"
        return ""

    def _enter(self, request: Request) -> Response:
        """Keep the token in a cookie, out of the address, the history and what a person copies."""
        rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
        answer = RedirectResponse(request.url.path + ("?" + rest if rest else ""), status_code=303)
        token = request.query_params["token"]
        answer.set_cookie(self._secret.cookie, token, path="/", httponly=True, samesite="strict")
        return answer


def _climbs(scope: Scope) -> bool:
    """Whether a path has a step up, a backslash or NUL, also when it is encoded twice. ``//`` would name a host."""
    path = unquote(unquote(scope.get("raw_path", scope["path"].encode()).decode("latin-1")))
    return (
        path.startswith("//")
        or any(sign in path for sign in ("\\", "\0", "\r", "\n"))
        or any(part in ("..", ".") for part in path.split("/"))
    )


def _with_policy(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in POLICY.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
