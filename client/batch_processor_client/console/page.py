"""The shared parts of all pages: the deployment, the templates, the followers, and forms only of our own pages."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from batch_processor_client.console.asking import PATIENCE_SECONDS, Asked
from batch_processor_client.console.followers import Followers
from batch_processor_client.console.guard import LOGGER, Secret
from batch_processor_client.deployment import Deployment
from batch_processor_client.progress import clock, money, size_text
from batch_processor_client.workbench import Workbench
from foundation.json_text import parse_json

SHOWN_CHARACTERS = 160
"""A longer cell is folded: only its beginning is shown until it is opened."""
MOST_FIELDS = 2_000
MOST_FIELD_BYTES = 2 * 1024 * 1024
TOO_LARGE = f"The document is too large for this page: up to {MOST_FIELD_BYTES:,} bytes. What you typed stays here."
NO_OBJECT = "The page sent no JSON object. Load it again; what you typed stays here."


class Console:
    """The state of one console. ``patience`` is how many seconds a page waits for AWS."""

    def __init__(self, deployment: Deployment, patience: float = PATIENCE_SECONDS) -> None:
        self.deployment = deployment
        self.patience = patience
        self.followers = Followers(deployment)
        self.workbench = Workbench(deployment)
        self.form_token = ""
        self.pages: list[tuple[str, str]] = []
        """Address and title of each entry of the navigation."""
        self._templates = Environment(
            loader=PackageLoader(__package__ or ""),
            autoescape=True,  # every value of every template, whatever the template's name
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "money": money,
            "duration": clock,
            "when": when,
            "moment": moment,
            "size": size_text,
        }
        self._templates.globals |= {"shown_characters": SHOWN_CHARACTERS}

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page from a template."""
        return HTMLResponse(self.render(template, **values), status_code=status)

    def render(self, template: str, **values: Any) -> str:
        """The text of a template: a page, or a part of one."""
        shared = {"deployment": self.deployment, "form_token": self.form_token, "pages": self.pages}
        shared |= {"problem": "", "section": ""}
        return self._templates.get_template(template).render({**shared, **values})


def when(moment: datetime) -> str:
    """A time as text, in UTC as everywhere in the product."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def moment(text: str) -> str:
    """A time in ISO 8601 as ``when`` shows it. Any other text stays as it is."""
    try:
        return when(datetime.fromisoformat(text))
    except ValueError:
        return text


def console_of(request: Request) -> Console:
    """The console that a request is for."""
    found: Console = request.app.state.console
    return found


def form_page(
    handler: Callable[[Request, FormData], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A handler of a form. A form without the hidden field of our pages is refused."""

    @wraps(handler)
    async def checked(request: Request) -> Response:
        secret: str = console_of(request).form_token
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES) as form:
            if not Secret.same(secret, str(form.get("form_token", ""))):
                LOGGER.warning("refused %s %.200r: the form is not of this console", request.method, request.url.path)
                return PlainTextResponse("403: the form is not of this console; load its page again.\n", 403)
            return await handler(request, form)

    return checked


def script_call(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A handler of what a script of our pages sends. A request without the header of our pages is refused.

    An HTTPException of the handler is a problem for the script.
    """

    @wraps(handler)
    async def checked(request: Request) -> Response:
        if not Secret.same(console_of(request).form_token, request.headers.get("x-form-token", "")):
            LOGGER.warning("refused %s %.200r: the script is not of this console", request.method, request.url.path)
            return JSONResponse({"problem": "403: load this page again."}, 403)
        try:
            return await handler(request)
        except HTTPException as refused:
            return JSONResponse({"problem": refused.detail}, refused.status_code)

    return checked


async def fields_of(request: Request) -> dict[str, Any]:
    """The JSON object that a script sent. Raises HTTPException: 413 for one that is too large, 400 for anything else.

    The rest of a request that is too large is read and dropped, because a browser sends everything before it reads.
    """
    body = bytearray()
    async for chunk in request.stream():
        if len(body) <= MOST_FIELD_BYTES:
            body += chunk
    if len(body) > MOST_FIELD_BYTES:
        raise HTTPException(413, TOO_LARGE)
    try:
        sent = parse_json(body.decode())
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise HTTPException(400, NO_OBJECT)
    return sent


def sent_text(sent: Mapping[str, Any], name: str) -> str:
    """A field that a script sent, as text."""
    value = sent.get(name, "")
    return value if isinstance(value, str) else ""


def refusal_of(asked: Asked[Any]) -> Response:
    """The answer to a script whose question has a problem: 400 if a person has to correct something, else 503."""
    return JSONResponse({"problem": asked.problem}, 400 if asked.is_wrong else 503)


def attachment(name: str) -> str:
    """A Content-Disposition header that saves a file under this name, whatever its characters.

    ``filename*`` has the name; ``filename`` is what is left of it in ASCII, for programs that do not know the other
    (https://www.rfc-editor.org/rfc/rfc6266#appendix-D).
    """
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def text_of(form: FormData, name: str) -> str:
    """A field as text without white space around it; "" if the form does not have it."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""
