"""The admin API under requests that are made from its own OpenAPI document, right and wrong ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from bedrock_batches.api.admin_http import admin_app
from bedrock_batches.api.routes import ROUTES, Route
from bedrock_batches.request.models import model_table
from tests.support.bedrock_jobs import JobsWorld, jobs_world, violations
from tests.support.deployment import scaled
from tests.support.http_api import wsgi_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
"""A valid request can be refused, since an agency is unknown or a day lies before another: so that check is left out.
Who may call, and what a method without a route answers, are decided by API Gateway."""
EXAMPLES = scaled(200, 12)
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def world() -> Iterator[JobsWorld]:
    with jobs_world(violations(120)) as made:
        yield made


def variants() -> Iterator[Any]:
    """Each route with right requests, with wrong ones where its document can be broken, and for a job that exists."""
    for route in ROUTES:
        if not route.in_document:
            continue
        parameters = [*inspect.signature(route.handle).parameters]
        can_be_wrong = [*filter(lambda name: name not in ("self", "jobId"), parameters)]
        for mode in GenerationMode if can_be_wrong else [GenerationMode.POSITIVE]:
            for known_job in (False, True) if "jobId" in parameters else (False,):
                name = f"{route.__name__}-{mode.value}{'-known' if known_job else ''}"
                yield pytest.param(route, mode, known_job, id=name)


@pytest.mark.parametrize(("route", "mode", "known_job"), [*variants()])
def test_any_request_is_answered_as_the_document_says(
    world: JobsWorld, route: type[Route], mode: GenerationMode, known_job: bool
) -> None:
    schema = schemathesis.openapi.from_wsgi("/admin/openapi.json", wsgi_app(admin_app(world.admin, model_table)))
    job_id = world.create({"limits": {"maxViolations": 5}, "batch": {"onDemandBelowMinimum": True}})["jobId"]
    world.end(job_id)
    cases = schema[route.path][route.method].as_strategy(mode, path_parameters={"jobId": job_id} if known_job else None)

    @SETTINGS
    @given(cases)
    def check(case: Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS)

    check()
