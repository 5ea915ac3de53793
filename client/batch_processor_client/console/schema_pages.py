"""The page that tries the schema of a target's answers on an answer that a person pastes."""

from __future__ import annotations

import json
from typing import Any

import yaml
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batch_processor_client import schemas, targets
from batch_processor_client.console.asking import ask
from batch_processor_client.console.page import console_of, form_page, text_of
from batch_processor_client.errors import ClientError
from row_batches.document.plan import Target
from row_batches.targets.answer import parse_answer


async def schema_page(request: Request) -> Response:
    """The form, with the schema that is registered with the target."""
    return await _show(request)


@form_page
async def try_schema(request: Request, form: FormData) -> Response:
    """Show which field each method of the schema finds in the answer, and where. Does not call AWS."""
    console, schema, answer = console_of(request), text_of(form, "schema"), text_of(form, "answer")

    def extract() -> schemas.Tried:
        if not schema or not answer:
            raise ClientError("Paste an answer and a schema.")
        return schemas.try_answer(schemas.parse_schema(schema), parse_answer(answer.encode()).value)

    asked = await ask(extract, console.patience)
    return await _show(request, asked.problem, schema, answer, asked.answer)


async def _show(
    request: Request, problem: str = "", schema: str = "", answer: str = "", tried: schemas.Tried | None = None
) -> Response:
    """The page with its typed texts and the result. The target is looked up only for its registered schema."""
    console, name = console_of(request), str(request.path_params["name"])
    target: Target | None = None
    if not schema:
        found = await ask(lambda: targets.find_target(console.deployment, name), console.patience)
        target, problem = found.answer, problem or found.problem
    return console.page(
        "schema.html",
        400 if problem and (schema or target) else 503 if problem else 200,
        problem=problem,
        name=name,
        schema=schema or _registered(target),
        answer=answer,
        tried=tried,
        results=_results(tried) if tried else [],
    )


def _registered(target: Target | None) -> str:
    """The schema of a target as YAML; "" without one."""
    if target is None or not target.output_schema_document:
        return ""
    document = json.loads(target.output_schema_document)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _results(tried: schemas.Tried) -> list[dict[str, Any]]:
    """The fields in the order of their columns: the cell, the method that found it, and each attempt."""
    names = [*tried.cells, *(one.field for one in tried.attempts if one.field not in tried.cells)]
    return [
        {
            "name": name,
            "cell": tried.cells.get(name, ""),
            "method": tried.methods.get(name, ""),
            "attempts": [
                {
                    "method": one.method,
                    "found": one.found,
                    "value": json.dumps(one.value, ensure_ascii=False, default=str),
                    "where": one.where,
                    "reason": one.reason,
                }
                for one in tried.attempts
                if one.field == name
            ],
        }
        for name in dict.fromkeys(names)
    ]


ROUTES = (
    Route("/targets/{name}/schema", schema_page),
    Route("/targets/{name}/schema", try_schema, methods=["POST"]),
)
