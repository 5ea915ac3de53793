"""Asks the console as a browser does, without a network: any path, header or cookie, as it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import anyio
from starlette.types import Message, Scope

from batch_processor_client.console.guard import Guard

PORT = 8321
TOKEN = "a-token-that-nobody-knows"
ORIGIN = f"http://127.0.0.1:{PORT}"
COOKIE = f"batch_processor_console_{PORT}={TOKEN}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """A browser that has the console's cookie and sends the forms of its pages."""

    def __init__(self, app: Guard, form_token: str) -> None:
        self._app = app
        self.form_token = form_token

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Send a form with the hidden field that our pages have."""
        body = urlencode({"form_token": self.form_token, **(fields or {})}, doseq=True).encode()
        given = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded", **headers}
        return self.send("POST", path, body, given)

    def upload(self, path: str, name: str, content: bytes) -> Answer:
        """Send a form with a file."""
        quoted = name.replace('"', "%22")  # as browsers do
        head = (
            f'--edge\r\nContent-Disposition: form-data; name="form_token"\r\n\r\n{self.form_token}\r\n'
            f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'
        )
        body = head.encode() + content + b"\r\n--edge--\r\n"
        return self.send("POST", path, body, {"origin": ORIGIN, "content-type": "multipart/form-data; boundary=edge"})

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Send a request. A header that is "" is left out."""
        given = {"host": f"127.0.0.1:{PORT}", "cookie": COOKIE, **(headers or {})}
        raw_path, _, query = path.partition("?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": _decoded(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items() if text],
            "server": ("127.0.0.1", PORT),
            "client": ("127.0.0.1", 50_000),
            "state": {},
        }
        return anyio.run(self._ask, scope, body)

    def open_socket(self) -> list[Message]:
        """What is sent to a page that opens a WebSocket."""
        return anyio.run(self._talk, {"type": "websocket", "path": "/", "headers": []}, [])

    async def _ask(self, scope: Scope, body: bytes) -> Answer:
        sent = await self._talk(scope, [{"type": "http.request", "body": body, "more_body": False}])
        headers = {name.decode(): text.decode() for name, text in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))

    async def _talk(self, scope: Scope, asked: list[Message]) -> list[Message]:
        """The messages that the application sends."""
        sent: list[Message] = []

        async def receive() -> Message:
            if not asked:
                await anyio.sleep_forever()  # the browser stays
            return asked.pop()

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return sent


def _decoded(raw_path: str) -> str:
    """As the server decodes a path, once."""
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), raw_path.encode()).decode()
