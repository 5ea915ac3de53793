"""The routes of the admin API: one class each. ``ROUTES`` is the registry.

The HTTP application, the OpenAPI document, Terraform's routes and permissions, and the table in the reference are
derived from it. A route exists only here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import orjson
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from bedrock_batches.api import admin
from bedrock_batches.api import admin_messages as bodies
from bedrock_batches.api.admin import MOST_LISTED, MOST_RECORDS, AdminServices, Answer
from bedrock_batches.api.once import Sender
from bedrock_batches.request.job_config import JobRequest, RetryRequest, parse_job_request, parse_retry_request
from bedrock_batches.request.models import Models
from bedrock_batches.submit.job import JobStatus
from foundation.registry import registry

BATCH = "/admin/bedrock/batch"
JOB = f"{BATCH}/{{jobId}}"
JSON = "application/json"

HttpResponse = Response[Any]
JobId = Annotated[str, Path(description="Id of the job: batch-<epoch seconds>-<8 hex>")]
Status = Annotated[str | None, Query(json_schema_extra={"enum": [one.value for one in JobStatus]})]
Limit = Annotated[
    int, Query(description="Most jobs on a page", json_schema_extra={"minimum": 1, "maximum": MOST_LISTED})
]
RecordLimit = Annotated[
    int, Query(description="Most records on a page", json_schema_extra={"minimum": 1, "maximum": MOST_RECORDS})
]
Cursor = Annotated[
    str,
    Query(
        description="nextCursor of the page before, of the same listing; any other text is refused",
        max_length=4_096,
        pattern="^[A-Za-z0-9_-]*$",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=256,
        description="The same request with the same key, within a day, answers with the same job.",
    ),
]


class Permission(NamedTuple):
    """A call of a route's use case: an IAM action, and the name of its resource in the Terraform module."""

    action: str
    resource: str


class Documented(NamedTuple):
    """An answer: its description, and the model of its body."""

    description: str
    model: Any


READ_JOB = Permission("dynamodb:GetItem", "jobs_table")
READ_PARTS = Permission("dynamodb:Query", "jobs_table")
LIST_JOBS = Permission("dynamodb:Query", "jobs_indexes")
CHANGE_JOB = Permission("dynamodb:UpdateItem", "jobs_table")
BEGIN_JOB = (
    Permission("dynamodb:PutItem", "jobs_table"),
    READ_JOB,
    Permission("lambda:InvokeFunction", "bedrock_batch_processor"),
)

INVALID = {400: Documented("Invalid", bodies.Invalid)}
UNKNOWN = {404: Documented("No such job", bodies.Said)}
NOT_CREATED = {
    202: Documented("Begun", bodies.Begun),
    **INVALID,
    422: Documented("Too few records, or a reused key", bodies.Refused | bodies.Said),
    502: Documented("Bedrock refused", bodies.Refused),
}
CREATED = {200: Documented("Created, or nothing to do", bodies.Created | bodies.Nothing), **NOT_CREATED}
ALWAYS = {
    401: Documented("The deployment does not accept the token", bodies.Said),
    403: Documented("Not signed, or not allowed", bodies.Said),
    429: Documented("Too many requests", bodies.Said),
    500: Documented("A fault of the deployment", bodies.Said),
    503: Documented("Try again later", bodies.Said),
}
"""Answers of every route."""


class Route:
    """One route. The annotated parameters of ``handle`` are the request's; it calls one use case.

    ``path`` is in API Gateway's form, with ``{jobId}``. ``doc`` is the line in the reference and the summary in the
    OpenAPI document. ``answers`` are added to ``ALWAYS``. ``in_document`` is false for a route that the OpenAPI
    document does not list.
    """

    method: ClassVar[str]
    path: ClassVar[str]
    doc: ClassVar[str]
    answers: ClassVar[Mapping[int, Documented]]
    permissions: ClassVar[tuple[Permission, ...]] = ()
    in_document: ClassVar[bool] = True
    handle: ClassVar[Callable[..., HttpResponse]]

    def __init__(
        self, app: APIGatewayHttpResolver, services: Callable[[], AdminServices], models: Callable[[], Models]
    ) -> None:
        """``services`` and ``models`` are called with the first request that needs them."""
        self._app = app
        self._services = services
        self._models = models

    @classmethod
    def key(cls) -> str:
        """API Gateway's route key, such as ``GET /admin/bedrock/batch/{jobId}``."""
        return f"{cls.method} {cls.path}"

    @classmethod
    def matches(cls, method: str, path: str) -> bool:
        return method == cls.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", cls.path), path) is not None

    def check(self) -> None:
        """Raise InvalidInputError with every problem of the request's body, in our own words."""

    @property
    def document(self) -> object:
        """The body as JSON; None without a body."""
        event = self._app.current_event
        return event.json_body if event.body else None

    def _sender(self, idempotency_key: str | None) -> Sender:
        """The caller as the API's authoriser names it: an IAM identity, or the subject of a token."""
        authorizer = APIGatewayProxyEventV2(self._app.current_event.raw_event).request_context.authorizer
        return Sender(authorizer.jwt_claim.get("sub") or authorizer.iam.user_arn, idempotency_key or "")


class CreateJob(Route):
    method = "POST"
    path = BATCH
    doc = "Create a job"
    answers = CREATED
    permissions = BEGIN_JOB
    dry_run = False

    def handle(self, body: Annotated[JobRequest, Body()], idempotency_key: IdempotencyKey = None) -> HttpResponse:  # noqa: ARG002
        sender = self._sender(idempotency_key)
        return respond(admin.create(self.document, sender, self._services(), dry_run=self.dry_run))

    def check(self) -> None:
        services = self._services()
        parse_job_request(
            JobRequest,
            self.document,
            models=services.models,
            default_model=services.default_model,
            agencies=services.agencies,
        )


class EstimateJob(CreateJob):
    path = f"{BATCH}/estimate"
    doc = "Estimate the records and cost of a job; create nothing"
    answers = {200: Documented("Estimated", bodies.Estimated), **NOT_CREATED}
    dry_run = True


class ListJobs(Route):
    method = "GET"
    path = f"{BATCH}/jobs"
    doc = "List the jobs, newest first"
    answers = {200: Documented("One page", bodies.JobList), **INVALID}
    permissions = (LIST_JOBS,)

    def handle(self, status: Status = None, limit: Limit = 20, cursor: Cursor = "") -> HttpResponse:
        return respond(admin.list_jobs(status, limit, cursor, self._services()))


class GetJob(Route):
    method = "GET"
    path = JOB
    doc = "Show one job, with live record counts"
    answers = {200: Documented("Job", bodies.Job), **UNKNOWN}
    permissions = (READ_JOB, READ_PARTS, Permission("bedrock:GetModelInvocationJob", "bedrock_jobs"))

    def handle(self, jobId: JobId) -> HttpResponse:  # noqa: N803
        return respond(admin.get_job(jobId, self._services()))


class ListRecords(Route):
    method = "GET"
    path = f"{JOB}/records"
    doc = "List the records of a job: outcome, reason, where the content is"
    answers = {200: Documented("One page", bodies.RecordList), **INVALID, **UNKNOWN}
    permissions = (
        READ_JOB,
        READ_PARTS,
        Permission("s3:GetObject", "job_inputs"),
        Permission("s3:GetObject", "job_errors"),
        Permission("s3:ListBucket", "data_bucket"),
    )

    def handle(self, jobId: JobId, limit: RecordLimit = 100, cursor: Cursor = "") -> HttpResponse:  # noqa: N803
        return respond(admin.get_records(jobId, limit, cursor, self._services()))


class StopJob(Route):
    method = "POST"
    path = f"{JOB}/stop"
    doc = "Stop a job; keep what is done"
    answers = {
        202: Documented("Stop requested", bodies.Stopped),
        200: Documented("Ended before", bodies.Stopped),
        **UNKNOWN,
    }
    permissions = (READ_JOB, CHANGE_JOB, Permission("lambda:InvokeFunction", "bedrock_job_events"))

    def handle(self, jobId: JobId) -> HttpResponse:  # noqa: N803
        return respond(admin.stop_job(jobId, self._services()))


class RetryJob(Route):
    method = "POST"
    path = f"{JOB}/retry"
    doc = "Create a job of the records that have no content"
    answers = {
        **CREATED,
        **UNKNOWN,
        409: Documented("The job has not ended, or does not say how its records were asked", bodies.Said),
    }
    permissions = BEGIN_JOB

    def handle(
        self,
        jobId: JobId,  # noqa: N803
        body: Annotated[RetryRequest | None, Body()] = None,  # noqa: ARG002
        idempotency_key: IdempotencyKey = None,
    ) -> HttpResponse:
        return respond(admin.retry_job(jobId, self.document, self._sender(idempotency_key), self._services()))

    def check(self) -> None:
        parse_retry_request(self.document, self._services().models)


class OpenApi(Route):
    method = "GET"
    path = "/admin/openapi.json"
    doc = "Describe every route and body (OpenAPI)"
    answers = {}
    in_document = False

    def handle(self) -> HttpResponse:
        document = with_models(openapi_document(self._app), sorted(self._models()))
        return Response(200, JSON, orjson.dumps(document).decode())


ROUTES: tuple[type[Route], ...] = registry(
    Route, CreateJob, EstimateJob, ListJobs, GetJob, ListRecords, StopJob, RetryJob, OpenApi
)

TITLE = "Bedrock batches"
VERSION = "1.0.0"
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
"""Both ways to authenticate. The deployment's API accepts one of them; the functions behind it do not know which."""


def add_routes(
    app: APIGatewayHttpResolver, services: Callable[[], AdminServices], models: Callable[[], Models]
) -> list[Route]:
    """Register every route with the resolver; returns them."""
    added = [route(app, services, models) for route in ROUTES]
    for route in added:
        app.route(
            rule=re.sub(r"\{(\w+)\}", r"<\1>", route.path),
            method=route.method,
            summary=route.doc,
            responses={
                status: {"description": one.description, "content": {JSON: {"model": one.model}}}
                for status, one in {**ALWAYS, **route.answers}.items()
            },
            tags=["jobs"],
            include_in_schema=route.in_document,
        )(route.handle)
    return added


def openapi_document(app: APIGatewayHttpResolver) -> dict[str, Any]:
    """The OpenAPI document with our security schemes, without the 422 that Powertools adds to each route: wrong types
    get 400."""
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


def with_models(document: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """The document of a deployment, which names its models for batch inference."""
    for name in ("Batch", "RetryBatch"):
        of_model = document["components"]["schemas"][name]["properties"]["modelId"]["anyOf"][0]
        of_model["enum"] = models
    return document


def respond(answer: Answer) -> HttpResponse:
    return Response(answer.status_code, JSON, orjson.dumps(answer.body).decode())
