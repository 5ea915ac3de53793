"""The admin API over HTTP: routes, status codes of errors, and the OpenAPI document.

Powertools resolves the routes and checks types; the texts of 400 come from ``request.job_config``, which names
every problem with its fix. Who may call is decided before, by the API's authoriser.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent

from bedrock_batches.api import admin
from bedrock_batches.api import admin_messages as bodies
from bedrock_batches.api.admin import MOST_LISTED, AdminServices, Answer, JobRunsError, UnknownJobError, invalid_answer
from bedrock_batches.request.job_config import JobRequest, RetryRequest, parse_job_request, parse_retry_request
from bedrock_batches.submit.job import JobStatus
from bedrock_batches.submit.ports import KeyReusedError
from foundation.errors import BatchProcessorError, InvalidInputError, Problem, RetryableError

LOGGER = logging.getLogger("batch_processor.admin_http")

BATCH = "/admin/bedrock/batch"
OPENAPI = "/admin/openapi.json"
TITLE = "Bedrock batches"
VERSION = "1.0.0"
JSON = "application/json"
NOT_JSON = "the body is not JSON"
SECURITY_SCHEMES = {
    "sigv4": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, service execute-api: where the deployment names no issuer of tokens.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of the deployment's issuer, where it names one.",
    },
}
"""Which of the two a deployment takes is decided by its API, which the functions behind it do not see."""

HttpResponse = Response[Any]
JobId = Annotated[str, Path(description="Id of the job: batch-<epoch seconds>-<8 hex>")]
Status = Annotated[str | None, Query(json_schema_extra={"enum": [one.value for one in JobStatus]})]
Limit = Annotated[
    int, Query(description="Most jobs of the page", json_schema_extra={"minimum": 1, "maximum": MOST_LISTED})
]
Cursor = Annotated[str, Query(description="nextCursor of the page before")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=256,
        description="The same request with the same key, within a day, answers with the same job.",
    ),
]


class _JsonResolver(APIGatewayHttpResolver):
    """Takes every body for JSON, whatever its type says: ``curl --data`` calls it a form, Powertools refuses others."""

    def resolve(self, event: Mapping[str, Any] | BaseProxyEvent, context: Any) -> dict[str, Any]:
        given = event.raw_event if isinstance(event, BaseProxyEvent) else event
        headers = {
            name: value for name, value in (given.get("headers") or {}).items() if name.lower() != "content-type"
        }
        return super().resolve({**given, "headers": {**headers, "content-type": JSON}}, context)


def admin_app(services: Callable[[], AdminServices]) -> APIGatewayHttpResolver:
    """The resolver. ``services`` is called with the first request that needs them."""
    app = _JsonResolver(enable_validation=True, serializer=_json, json_body_deserializer=_read_json)

    always = {
        401: _documented("Not a token that the deployment takes", bodies.Said),
        403: _documented("Not signed, or not allowed", bodies.Said),
        429: _documented("Too many requests", bodies.Said),
        500: _documented("A fault of the deployment", bodies.Said),
        503: _documented("Try again later", bodies.Said),
    }
    created = always | {
        200: _documented("Created, or nothing to do", bodies.Created | bodies.Nothing),
        202: _documented("Begun", bodies.Begun),
        400: _documented("Invalid", bodies.Invalid),
        422: _documented("Too few records, or a reused key", bodies.Refused | bodies.Said),
        502: _documented("Bedrock refused", bodies.Refused),
    }
    estimated = created | {200: _documented("Estimated", bodies.Estimated)}
    unknown = always | {404: _documented("No such job", bodies.Said)}

    @app.post(BATCH, summary="Create a batch job", responses=created, tags=["jobs"])
    def create(body: Annotated[JobRequest, Body()], idempotency_key: IdempotencyKey = None) -> HttpResponse:  # noqa: ARG001
        document = app.current_event.json_body
        return _response(admin.create(document, services(), idempotency_key=idempotency_key or ""))

    @app.post(f"{BATCH}/estimate", summary="Estimate a batch job", responses=estimated, tags=["jobs"])
    def estimate(body: Annotated[JobRequest, Body()], idempotency_key: IdempotencyKey = None) -> HttpResponse:  # noqa: ARG001
        document = app.current_event.json_body
        return _response(admin.create(document, services(), dry_run=True, idempotency_key=idempotency_key or ""))

    listed = always | {200: _documented("One page", bodies.JobList), 400: created[400]}

    @app.get(f"{BATCH}/jobs", summary="List the jobs, newest first", responses=listed, tags=["jobs"])
    def list_jobs(status: Status = None, limit: Limit = 20, cursor: Cursor = "") -> HttpResponse:
        return _response(admin.list_jobs(status, limit, cursor, services()))

    @app.get(f"{BATCH}/<jobId>", summary="One job", responses={200: _documented("Job", bodies.Job)} | unknown)
    def get_job(jobId: JobId) -> HttpResponse:  # noqa: N803
        return _response(admin.get_job(jobId, services()))

    stopped = {202: _documented("Stop requested", bodies.Stopped), 200: _documented("Ended before", bodies.Stopped)}

    @app.post(f"{BATCH}/<jobId>/stop", summary="Stop a job, keeping what is done", responses=stopped | unknown)
    def stop(jobId: JobId) -> HttpResponse:  # noqa: N803
        return _response(admin.stop_job(jobId, services()))

    running = {409: _documented("The job has not ended", bodies.Said)}

    @app.post(f"{BATCH}/<jobId>/retry", summary="A job of the failed records", responses=created | unknown | running)
    def retry(
        jobId: JobId,  # noqa: N803
        body: Annotated[RetryRequest | None, Body()] = None,  # noqa: ARG001
        idempotency_key: IdempotencyKey = None,
    ) -> HttpResponse:
        document = app.current_event.json_body if app.current_event.body else None
        return _response(admin.retry_job(jobId, document, services(), idempotency_key=idempotency_key or ""))

    @app.get(OPENAPI, include_in_schema=False)
    def openapi() -> HttpResponse:
        return Response(200, JSON, _json(openapi_document(app)))

    def wrong_types(error: RequestValidationError) -> HttpResponse:
        return _response(invalid_answer(_problems(error, app, services)))

    def not_text(_: UnicodeDecodeError) -> HttpResponse:
        return _response(invalid_answer([_not_json()]))

    def invalid(error: InvalidInputError) -> HttpResponse:
        return _response(invalid_answer(error.problems))

    def failed(error: BatchProcessorError) -> HttpResponse:
        return _response(_failure(error))

    app.exception_handler(RequestValidationError)(wrong_types)
    app.exception_handler(UnicodeDecodeError)(not_text)
    app.exception_handler(InvalidInputError)(invalid)
    app.exception_handler(BatchProcessorError)(failed)
    return app


def openapi_document(app: APIGatewayHttpResolver) -> dict[str, Any]:
    """Without the 422 that Powertools adds to each route: here wrong types are answered by 400. With who may call."""
    document: dict[str, Any] = orjson.loads(app.get_openapi_json_schema(title=TITLE, version=VERSION))
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for schema in ("HTTPValidationError", "ResponseValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return document


def _documented(description: str, model: Any) -> Any:
    return {"description": description, "content": {JSON: {"model": model}}}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _read_json(text: str) -> Any:
    """Raises JSONDecodeError, the only error that Powertools takes for a wrong body, whatever is wrong."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        # A number of more digits than Python reads, or arrays nested deeper than it goes
        raise json.JSONDecodeError(str(error), text[:100], 0) from None


def _not_json() -> Problem:
    return Problem("body", "", NOT_JSON, 'write {"config": {...}} as JSON')


def _response(answer: Answer) -> HttpResponse:
    return Response(answer.status_code, JSON, _json(answer.body))


def _problems(
    error: RequestValidationError, app: APIGatewayHttpResolver, services: Callable[[], AdminServices]
) -> list[Problem]:
    """Of a body, every problem in our own words; Powertools stops at those of types."""
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
        _parse(app, services())
    except InvalidInputError as invalid:
        return [*problems, *invalid.problems]
    return [*problems, Problem("body", "", str(details[0]["msg"]), "see /admin/openapi.json")]


def _parse(app: APIGatewayHttpResolver, services: AdminServices) -> None:
    document = app.current_event.json_body if app.current_event.body else None
    if app.current_event.path.endswith("/retry"):
        parse_retry_request(document, services.models)
    else:
        parse_job_request(
            document, models=services.models, default_model=services.default_model, agencies=services.agencies
        )


def _failure(error: BatchProcessorError) -> Answer:
    """The status code by the kind of error; what is not the caller's fault is logged."""
    codes: dict[type[BatchProcessorError], int] = {UnknownJobError: 404, JobRunsError: 409, KeyReusedError: 422}
    code = codes.get(type(error), 503 if isinstance(error, RetryableError) else 500)
    if code >= 500:
        LOGGER.error("request failed", exc_info=error)
    return Answer(code, {"message": str(error)})
