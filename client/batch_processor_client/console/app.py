"""The console as an ASGI application: its routes behind the guard."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from batch_processor_client.console.guard import Guard, Secret
from batch_processor_client.console.page import Console
from batch_processor_client.console.sections import SECTIONS
from batch_processor_client.deployment import Deployment

STATIC = Path(__file__).parent / "static"


async def home(_: Request) -> Response:
    """The first page is the list of runs."""
    return RedirectResponse("/runs", status_code=303)


async def not_found(request: Request, _: Exception) -> Response:
    """The answer to an address without a page."""
    console: Console = request.app.state.console
    return console.page("problem.html", 404, title="Not found", problem="The console has no such page.")


async def failed(request: Request, _: Exception) -> Response:
    """The answer to a mistake in the console. The server logs it."""
    console: Console = request.app.state.console
    problem = "The console failed. Its terminal has the details; please report them."
    return console.page("problem.html", 500, title="The console failed", problem=problem)


def create_app(deployment: Deployment, token: str, port: int, console: Console | None = None) -> Guard:
    """The console of a deployment on this port of loopback, for whoever has the token."""
    secret = Secret(token, port)
    app = Starlette(
        routes=[
            Route("/", home),
            *(route for section in SECTIONS for route in section.routes),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={404: not_found, Exception: failed},
    )
    app.state.console = console or Console(deployment)
    app.state.console.form_token = secret.form_token
    app.state.console.pages = [(section.path, section.title) for section in SECTIONS]
    return Guard(app, secret, port)  # around all of it, so that failures have its headers, too
