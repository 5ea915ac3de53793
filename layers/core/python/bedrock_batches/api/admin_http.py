"""The admin API over HTTP: it reads requests and gives each error its status code and body.

Powertools resolves the routes and checks types. The texts of 400 come from ``request.job_config``, which names every
problem with its fix. The API's authoriser has already decided who may call.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent

from bedrock_batches.api.admin import (
    AdminServices,
    Answer,
    JobRunsError,
    NotRetryableError,
    UnknownJobError,
    invalid_answer,
)
from bedrock_batches.api.routes import JSON, HttpResponse, Route, add_routes, respond
from bedrock_batches.request.models import Models
from bedrock_batches.submit.ports import KeyReusedError
from foundation.errors import BatchProcessorError, InvalidInputError, Problem, RetryableError

LOGGER = logging.getLogger("batch_processor.admin_http")

NOT_JSON = "the body is not JSON"


class _JsonResolver(APIGatewayHttpResolver):
    """Reads every body as JSON. ``curl --data`` labels a body as a form, and Powertools accepts only JSON types."""

    def resolve(self, event: Mapping[str, Any] | BaseProxyEvent, context: Any) -> dict[str, Any]:
        given = event.raw_event if isinstance(event, BaseProxyEvent) else event
        headers = {
            name: value for name, value in (given.get("headers") or {}).items() if name.lower() != "content-type"
        }
        return super().resolve({**given, "headers": {**headers, "content-type": JSON}}, context)


def admin_app(services: Callable[[], AdminServices], models: Callable[[], Models]) -> APIGatewayHttpResolver:
    """The resolver. ``services`` is called with the first request that needs them, ``models`` for the document, which
    needs nothing else."""
    app = _JsonResolver(enable_validation=True, serializer=_json, json_body_deserializer=_read_json)
    routes = add_routes(app, services, models)

    def wrong_types(error: RequestValidationError) -> HttpResponse:
        event = app.current_event
        route = next(one for one in routes if one.matches(event.http_method, event.path))
        return respond(invalid_answer(_problems(error, route)))

    def not_text(_: UnicodeDecodeError) -> HttpResponse:
        return respond(invalid_answer([_not_json()]))

    def not_found(_: NotFoundError) -> HttpResponse:
        event = app.current_event
        return respond(Answer(404, {"message": f"There is no route {event.http_method} {event.path[:200]}."}))

    def invalid(error: InvalidInputError) -> HttpResponse:
        return respond(invalid_answer(error.problems))

    def failed(error: BatchProcessorError) -> HttpResponse:
        return respond(_failure(error))

    app.not_found(not_found)
    app.exception_handler(RequestValidationError)(wrong_types)
    app.exception_handler(UnicodeDecodeError)(not_text)
    app.exception_handler(InvalidInputError)(invalid)
    app.exception_handler(BatchProcessorError)(failed)
    return app


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _read_json(text: str) -> Any:
    """Parse a body. Raises JSONDecodeError for any mistake, because Powertools expects this error for a wrong body."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        # A number with more digits than Python reads, or arrays that are nested too deep.
        raise json.JSONDecodeError(str(error), text[:100], 0) from None


def _not_json() -> Problem:
    return Problem("body", "", NOT_JSON, 'write {"config": {...}} as JSON')


def _problems(error: RequestValidationError, route: Route) -> list[Problem]:
    """The problems of a request. We check bodies ourselves, because Powertools stops at wrong types."""
    details: list[Mapping[str, Any]] = list(error.errors())
    if any(detail["type"] == "json_invalid" for detail in details):
        return [_not_json()]
    problems = [
        Problem(str(detail["loc"][-1]), str(detail.get("input", ""))[:60], detail["msg"], "see /admin/openapi.json")
        for detail in details
        if detail["loc"][0] != "body"
    ]
    if len(problems) == len(details):
        return problems
    try:
        route.check()
    except InvalidInputError as invalid:
        return [*problems, *invalid.problems]
    return [*problems, Problem("body", "", str(details[0]["msg"]), "see /admin/openapi.json")]


def _failure(error: BatchProcessorError) -> Answer:
    """The answer to an error: the status code of its kind. Errors that are not the caller's fault are logged."""
    codes: dict[type[BatchProcessorError], int] = {
        UnknownJobError: 404,
        JobRunsError: 409,
        NotRetryableError: 409,
        KeyReusedError: 422,
    }
    code = codes.get(type(error), 503 if isinstance(error, RetryableError) else 500)
    if code >= 500:
        LOGGER.error("request failed", exc_info=error)
    return Answer(code, {"message": str(error)})
