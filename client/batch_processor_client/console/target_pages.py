"""The pages of targets: the registry, and a row that is tried."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batch_processor_client import targets
from batch_processor_client.console.asking import ask
from batch_processor_client.console.page import console_of, form_page, text_of
from row_batches.document.plan import Target


async def list_page(request: Request) -> Response:
    """The registry."""
    console = console_of(request)
    asked = await ask(lambda: targets.list_targets(console.deployment), console.patience)
    return console.page(
        "targets.html", 503 if asked.problem else 200, problem=asked.problem, targets=asked.answer or []
    )


async def target_page(request: Request) -> Response:
    """One target."""
    return await _show(request)


@form_page
async def try_row(request: Request, form: FormData) -> Response:
    """Call the target once with a row."""
    console, name, typed = console_of(request), request.path_params["name"], text_of(form, "row")
    asked = await ask(
        lambda: targets.try_target(console.deployment, name, targets.row_of(typed)), targets.TRIED_SECONDS
    )
    return await _show(request, asked.problem, typed, asked.answer)


async def _show(request: Request, problem: str = "", row: str = "", tried: targets.Tried | None = None) -> Response:
    """The page of a target, with the typed row and its result."""
    console, name = console_of(request), request.path_params["name"]
    found = await ask(lambda: targets.find_target(console.deployment, name), console.patience)
    target = found.answer
    return console.page(
        "target.html",
        503 if target is None else 400 if problem else 200,
        problem=problem or found.problem,
        name=name,
        target=target,
        row=row or (_example(target) if target else ""),
        tried=tried,
        request_text=_json(tried.request) if tried else "",
        answer_text=_json(tried.answer) if tried else "",
    )


def _example(target: Target) -> str:
    """A row to begin with: the fields that the target takes."""
    return _json(dict.fromkeys(target.input, "")) if target.input else '{"text": ""}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


ROUTES = (
    Route("/targets", list_page),
    Route("/targets/{name}", target_page),
    Route("/targets/{name}/try", try_row, methods=["POST"]),
)
