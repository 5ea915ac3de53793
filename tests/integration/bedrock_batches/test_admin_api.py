"""The admin API, from an HTTP API's event to its response, on moto."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic import TypeAdapter

from bedrock_batches.api import admin_messages as bodies
from bedrock_batches.api.admin_http import admin_app
from bedrock_batches.api.process import process
from bedrock_batches.api.routes import openapi_document
from bedrock_batches.request.models import model_table
from bedrock_batches.submit import names
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInferenceJob, JobRefusedError
from foundation.aws.dynamodb_items import to_item
from foundation.errors import ServiceUnavailableError
from tests.support.bedrock_jobs import MODEL, TABLE, JobsWorld, answer_part, jobs_world, violations

OSHA = 260
BATCH = "/admin/bedrock/batch"
ANYWHERE = {"401", "403", "429", "500", "503"}
MIN_FINE = "config.filters.minFineAmount"
CONFIG: dict[str, Any] = {"config": {"filters": {"agencies": ["OSHA"]}, "limits": {"maxViolations": 150}}}


class Context:
    aws_request_id = "request-1"
    function_name = "ventureos-bedrock-admin-api"


def _text(body: object) -> str:
    if isinstance(body, bytes):
        return base64.b64encode(body).decode()
    return body if isinstance(body, str) else json.dumps(body)


class Api:
    def __init__(self, world: JobsWorld, caller: str = "arn:aws:iam::000000000000:user/operator") -> None:
        self._caller = caller
        self._app: APIGatewayHttpResolver = admin_app(world.admin, model_table)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"Content-Type": "application/json", **(headers or {})},
            "queryStringParameters": query or {},
            "requestContext": {
                "http": {"method": method, "path": path},
                "stage": "$default",
                "authorizer": {"iam": {"userArn": self._caller}},
            },
            "isBase64Encoded": isinstance(body, bytes),
        }
        if body is not None:
            event["body"] = _text(body)
        response = self._app.resolve(event, Context())  # type: ignore[arg-type]
        answered: dict[str, Any] = json.loads(str(response["body"]))
        return int(response["statusCode"]), answered

    def post(self, path: str, body: object = None, **options: Any) -> tuple[int, dict[str, Any]]:
        return self.call("POST", path, body, **options)

    def get(self, path: str, **query: str) -> tuple[int, dict[str, Any]]:
        return self.call("GET", path, query=query)


@pytest.fixture
def world() -> Iterator[JobsWorld]:
    with jobs_world(violations(OSHA)) as made:
        yield made


@pytest.fixture
def api(world: JobsWorld) -> Api:
    return Api(world)


def fits(model: Any, body: dict[str, Any]) -> bool:
    """Whether a body is what the OpenAPI document says."""
    TypeAdapter(model).validate_python(body)
    return True


def test_a_job_is_created(world: JobsWorld, api: Api) -> None:
    status, body = api.post(BATCH, CONFIG)
    assert status == 200
    assert fits(bodies.Created, body)
    job_id = body["jobId"]
    assert names.is_job_id(job_id)
    assert body == {
        "message": "Batch job created successfully",
        "jobId": job_id,
        "jobArn": world.part_items(job_id)[0]["jobArn"],
        "violationCount": 150,
        "estimate": body["estimate"],
        "status": "InProgress",
        "expectedCompletion": "2026-11-22T09:00:00.000Z",
    }
    assert set(body["estimate"]) == {"violationCount", "totalTokens", "costUSD", "costPerViolation"}
    assert len(world.records(job_id)) == 150
    assert world.called == [{"jobId": job_id}]


def test_a_creation_that_takes_long_is_answered_by_202_and_the_rest_by_get(world: JobsWorld, api: Api) -> None:
    world.runs_at_once = False
    began = world.clock.ms
    status, body = api.post(BATCH, CONFIG)
    assert (status, body["message"], body["status"]) == (202, "Batch job is being created", "InProgress")
    assert fits(bodies.Begun, body)
    assert body["idempotencyKey"] == body["jobId"]
    assert 20_000 <= world.clock.ms - began < 21_000
    status, body = api.get(f"{BATCH}/{body['jobId']}")
    assert (status, body["status"], body["creation"]) == (200, "InProgress", "Pending")


def test_an_estimate_creates_nothing(world: JobsWorld, api: Api) -> None:
    status, body = api.post(f"{BATCH}/estimate", CONFIG)
    assert status == 200
    assert body == {
        "message": "Cost estimation complete",
        "violationCount": 150,
        "estimate": body["estimate"],
        "dryRun": True,
        "filters": [
            {"name": "agencies", "remaining": OSHA},
            {"name": "withoutGeneratedContent", "remaining": OSHA},
            {"name": "notInFlight", "remaining": OSHA},
            {"name": "usableViolationId", "remaining": OSHA},
            {"name": "limits", "remaining": 150},
        ],
    }
    assert fits(bodies.Estimated, body)
    assert world.keys() == []
    assert api.get(f"{BATCH}/jobs")[1]["jobs"] == []


def test_an_estimate_that_takes_long_is_fetched_by_its_id(world: JobsWorld, api: Api) -> None:
    world.runs_at_once = False
    status, body = api.post(f"{BATCH}/estimate", CONFIG)
    assert (status, body["message"]) == (202, "Cost estimation is running")
    estimate_id = body["jobId"]
    assert api.get(f"{BATCH}/{estimate_id}")[0] == 200
    assert api.post(f"{BATCH}/{estimate_id}/stop")[0] == 404
    assert api.post(f"{BATCH}/{estimate_id}/retry")[0] == 404


def test_nothing_to_do_names_the_filter_that_left_none(api: Api) -> None:
    status, body = api.post(BATCH, {"config": {"filters": {"agencies": ["epa"]}}})
    assert status == 200
    assert (body["message"], body["violationCount"], body["emptiedBy"]) == ("No violations to process", 0, "agencies")
    assert fits(bodies.Nothing, body)


def test_too_few_records_are_422_with_the_shortfall(api: Api) -> None:
    status, body = api.post(BATCH, {"config": {"limits": {"maxViolations": 37}}})
    assert (status, body["message"], body["shortfall"]) == (422, "Failed to create batch job", 63)
    assert fits(bodies.Refused, body)


def test_the_refusal_of_bedrock_is_told_with_its_reason(world: JobsWorld, api: Api) -> None:
    world.bedrock.refusals = [JobRefusedError("ValidationException: The provided model identifier is invalid.")]
    status, body = api.post(BATCH, CONFIG)
    assert (status, body["message"]) == (502, "Failed to create batch job")
    assert body["reason"] == "ValidationException: The provided model identifier is invalid."
    assert fits(bodies.Refused, body)


def test_every_problem_of_a_body_is_named(world: JobsWorld, api: Api) -> None:
    config = {
        "filters": {
            "minFineAmount": -1,
            "agencies": ["nasa"],
            "dateRange": {"start": "2026-02-01", "end": "2026-01-01"},
        },
        "limits": {"maxViolation": 5},
        "batch": {"modelId": "mistral.mistral-large-2402-v1:0"},
    }
    for path in (BATCH, f"{BATCH}/estimate"):
        status, body = api.post(path, {"config": config})
        assert status == 400
        assert fits(bodies.Invalid, body)
        assert {problem["path"]: problem["message"] for problem in body["problems"]} == {
            "config.filters.minFineAmount": "must be at least 0",
            "config.limits.maxViolation": "unknown field",
            "config.filters.agencies[0]": "the lake has no such agency",
            "config.filters.dateRange.end": "is before start (2026-02-01)",
            "config.batch.modelId": "batch inference does not take this model here",
        }
    assert world.called == []


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ("{", "body", "the body is not JSON"),
        (b"\xff", "body", "the body is not JSON"),
        (f'{{"config": {3_000 * "["}{3_000 * "]"}}}', "body", "the body is not JSON"),
        (f'{{"config": {500 * "["}{500 * "]"}}}', "config", "not an object"),
        (f'{{"config": {{"filters": {{"minFineAmount": {5_000 * "9"}}}}}}}', "body", "the body is not JSON"),
        (f'{{"config": {{"filters": {{"minFineAmount": {400 * "9"}}}}}}}', MIN_FINE, "not a number"),
        (None, "body", "not a JSON object"),
        ([1], "body", "not a JSON object"),
        ("null", "body", "not a JSON object"),
        ({}, "config", "is required"),
        ({"config": {}, "dryRun": True}, "dryRun", "unknown field"),
    ],
)
def test_a_body_that_is_no_request_is_400(api: Api, body: object, path: str, message: str) -> None:
    status, answered = api.post(BATCH, body)
    assert status == 400
    assert [(problem["path"], problem["message"]) for problem in answered["problems"]] == [(path, message)]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/xml", ""])
def test_a_body_is_json_whatever_its_type_says(api: Api, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    status, body = api.post(f"{BATCH}/estimate", CONFIG, headers=headers)
    assert (status, body["violationCount"]) == (200, 150)
    # As an HTTP API passes bodies on that it does not take for text
    assert api.post(f"{BATCH}/estimate", json.dumps(CONFIG).encode(), headers=headers)[0] == 200
    status, body = api.post(BATCH, "config=1", headers=headers)
    assert (status, body["problems"][0]["message"]) == (400, "the body is not JSON")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{BATCH}/batch-1790000000-00000000"),
        ("GET", f"{BATCH}/JOB%23x"),
        ("GET", f"{BATCH}/jobs-x"),
        ("GET", f"{BATCH}/batch-1790000000-00000000/records"),
        ("POST", f"{BATCH}/batch-1790000000-00000000/stop"),
        ("POST", f"{BATCH}/batch-1790000000-00000000/retry"),
    ],
)
def test_an_unknown_job_is_404(api: Api, method: str, path: str) -> None:
    status, body = api.call(method, path)
    assert status == 404
    assert body["message"].startswith("There is no job")


def test_jobs_are_listed_newest_first_in_pages_and_by_status(world: JobsWorld, api: Api) -> None:
    ids = []
    for number in range(5):
        world.clock.pass_by(seconds=1)
        ids.append(world.new_job({"filters": {}}))
        if number % 2:
            world.update(ids[-1], status="Failed")
    status, page = api.get(f"{BATCH}/jobs", limit="3")
    assert status == 200
    assert fits(bodies.JobList, page)
    assert [job["jobId"] for job in page["jobs"]] == ids[:1:-1]
    assert set(page["jobs"][0]) == {
        "PK", "SK", "jobId", "jobArn", "status", "violationCount", "createdAt", "processedAt", "stats"
    }  # fmt: skip
    rest = api.get(f"{BATCH}/jobs", limit="3", cursor=page["nextCursor"])[1]
    assert [job["jobId"] for job in rest["jobs"]] == ids[1::-1]
    assert rest["nextCursor"] is None
    failed = api.get(f"{BATCH}/jobs", status="Failed")[1]["jobs"]
    assert [job["jobId"] for job in failed] == [ids[3], ids[1]]
    wrong = api.get(f"{BATCH}/jobs", status="Failed", cursor=page["nextCursor"])
    assert (wrong[0], wrong[1]["problems"][0]["path"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"limit": "abc"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"status": "Done"}, "status"),
        ({"cursor": "!"}, "cursor"),
    ],
)
def test_a_wrong_query_is_400(api: Api, query: dict[str, str], path: str) -> None:
    status, body = api.get(f"{BATCH}/jobs", **query)
    assert status == 400
    assert [problem["path"] for problem in body["problems"]] == [path]


def test_a_job_shows_the_live_counts_of_bedrock_and_then_the_results(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    (part,) = world.part_items(job_id)
    world.bedrock.jobs[part["jobArn"]] = BatchInferenceJob(part["jobArn"], "InProgress", "", 150, 40, 38, 2)
    status, body = api.get(f"{BATCH}/{job_id}")
    assert status == 200
    assert fits(bodies.Job, body)
    assert body["recordCounts"] == {"total": 150, "processed": 40, "succeeded": 38, "failed": 2}
    assert body["PK"] == f"JOB#{job_id}"
    assert body["config"]["filters"] == {"agencies": ["OSHA"]}
    assert body["parts"][0]["status"] == "submitted"
    assert not {"GSI1PK", "GSI2PK", "ttl"} & set(body)
    world.end(job_id)
    world.update(job_id, stats={"processed": 149, "errors": 1, "total": 150})
    body = api.get(f"{BATCH}/{job_id}")[1]
    assert body["recordCounts"] == {"total": 150, "processed": 150, "succeeded": 149, "failed": 1}


def test_a_job_that_was_written_by_hand_is_shown_without_what_it_lacks(world: JobsWorld, api: Api) -> None:
    job_id, created_at = "batch-1790000000-Test1", "2026-11-21T09:00:00.000Z"
    key = {"PK": f"JOB#{job_id}", "SK": "METADATA", "GSI1PK": "JOBS", "GSI1SK": f"{created_at}#{job_id}"}
    item = {**key, "status": "Completed", "createdAt": created_at, "violationCount": 7}
    world.dynamodb.put_item(TableName=TABLE, Item=to_item(item))
    status, body = api.get(f"{BATCH}/{job_id}")
    assert (status, body["jobId"]) == (200, job_id)
    assert body["stats"] == {"processed": 0, "errors": 0, "total": 7}
    assert body["recordCounts"] == {"total": 7, "processed": 0, "succeeded": 0, "failed": 0}
    (listed,) = api.get(f"{BATCH}/jobs")[1]["jobs"]
    assert (listed["jobId"], listed["jobArn"], listed["stats"]) == (job_id, "", body["stats"])
    assert api.post(f"{BATCH}/{job_id}/stop")[1]["message"] == "Batch job has already ended"


def test_a_job_is_shown_without_live_counts_while_bedrock_does_not_answer(
    world: JobsWorld, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]

    def silent(job_arn: str) -> BatchInferenceJob:
        raise ServiceUnavailableError("no answer")

    monkeypatch.setattr(world.bedrock, "get", silent)
    status, body = api.get(f"{BATCH}/{job_id}")
    assert (status, body["recordCounts"]["processed"]) == (200, 0)


def test_the_records_of_a_job_are_listed_with_outcome_reason_and_content(world: JobsWorld, api: Api) -> None:
    # Given a job of 150 records, of which the first has content and the second failed
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    ids = world.records(job_id)
    answer_part(world, job_id, [0, 1], [0])
    error_key = f"{names.errors_prefix(job_id)}0001-0001.jsonl"
    line = {"recordId": ids[1], "error": "Failed to parse Bedrock response", "reason": "the answer has no text"}
    world.objects.put(error_key, json.dumps(line).encode())
    # When its records are listed while it runs
    status, page = api.get(f"{BATCH}/{job_id}/records", limit="3")
    # Then each has its outcome, in the order of the input
    assert status == 200
    assert fits(bodies.RecordList, page)
    assert [record["recordId"] for record in page["records"]] == ids[:3]
    assert [record["outcome"] for record in page["records"]] == ["Succeeded", "Failed", "Pending"]
    first, second, third = page["records"]
    content = {"table": "VentureOS-Violations", "PK": f"VIOLATION#{ids[0]}", "SK": "BEDROCK_CONTENT"}
    assert (first["content"], first["reason"]) == (content, None)
    assert (second["content"], second["reason"]) == (
        None,
        "Failed to parse Bedrock response: the answer has no text",
    )
    assert second["error"] == f"s3://data/{error_key}"
    assert third["input"] == f"s3://data/{names.input_key(job_id, 1)}"
    # And when it has ended, those without an answer say so
    world.end(job_id)
    rest = api.get(f"{BATCH}/{job_id}/records", limit="1000", cursor=page["nextCursor"])[1]
    assert [record["recordId"] for record in rest["records"]] == ids[3:]
    assert rest["nextCursor"] is None
    assert {record["outcome"] for record in rest["records"]} == {"Unanswered"}
    assert rest["records"][0]["reason"] == "The part ended without an answer for this record: Completed"


def test_pages_of_records_go_on_over_parts(world: JobsWorld, api: Api) -> None:
    world.quotas = Quotas(minimum_records=50, records_per_job=60)
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    assert len(world.jobs.parts(job_id)) == 3
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(f"{BATCH}/{job_id}/records", limit="40", **({"cursor": cursor} if cursor else {}))[1]
        seen += [record["recordId"] for record in page["records"]]
        cursor = page["nextCursor"]
    assert seen == world.records(job_id)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"cursor": "!"}, {"cursor": "W10"}])
def test_a_wrong_query_of_records_is_400(api: Api, query: dict[str, str]) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    status, body = api.get(f"{BATCH}/{job_id}/records", **query)
    assert (status, [problem["path"] for problem in body["problems"]]) == (400, [*query])


def written_by_another_system(world: JobsWorld, **attributes: Any) -> str:
    job_id, created_at = "batch-1790000000-Test1", "2026-11-21T09:00:00.000Z"
    key = {"PK": f"JOB#{job_id}", "SK": "METADATA", "GSI1PK": "JOBS", "GSI1SK": f"{created_at}#{job_id}"}
    item = {**key, "status": "Failed", "createdAt": created_at, "violationCount": 7, **attributes}
    world.dynamodb.put_item(TableName=TABLE, Item=to_item(item))
    return job_id


def test_a_retry_of_a_job_that_names_no_model_takes_the_default_model(world: JobsWorld, api: Api) -> None:
    job_id = written_by_another_system(world, config={"filters": {"agencies": ["osha"]}, "batch": {"maxTokens": 300}})
    status, body = api.post(f"{BATCH}/{job_id}/retry")
    assert status == 200
    job = world.item(body["jobId"])
    assert job["config"]["batch"]["modelId"] == "amazon.nova-lite-v1:0"


@pytest.mark.parametrize("attributes", [{}, {"config": {"state": "TX", "limit": 5}}])
def test_a_retry_of_a_job_that_does_not_say_how_it_asked_is_409(
    world: JobsWorld, api: Api, attributes: dict[str, Any]
) -> None:
    job_id = written_by_another_system(world, **attributes)
    status, body = api.post(f"{BATCH}/{job_id}/retry")
    assert status == 409
    assert "does not say what it was created with" in body["message"]


def test_an_estimate_whose_processor_died_ends_with_that_reason(world: JobsWorld, api: Api) -> None:
    world.runs_at_once = False
    estimate_id = api.post(f"{BATCH}/estimate", CONFIG)[1]["jobId"]
    world.clock.pass_by(minutes=19)
    assert api.get(f"{BATCH}/{estimate_id}")[1]["status"] == "InProgress"
    world.clock.pass_by(minutes=2)
    status, body = api.get(f"{BATCH}/{estimate_id}")
    assert (status, body["status"]) == (200, "Failed")
    assert body["message"].startswith("The processor ended before the estimate was complete")


def test_a_stop_is_noted_and_carried_out_by_the_job_events_function(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    status, body = api.post(f"{BATCH}/{job_id}/stop")
    assert (status, body) == (202, {"message": "Stop requested", "jobId": job_id, "status": "InProgress"})
    assert world.reconciled == [{"jobId": job_id}]
    world.end(job_id)
    status, body = api.post(f"{BATCH}/{job_id}/stop")
    assert (status, body["message"], body["status"]) == (200, "Batch job has already ended", "Completed")


def test_a_retry_makes_a_job_of_the_failed_records(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    assert api.post(f"{BATCH}/{job_id}/retry")[0] == 409
    world.end(job_id, ["OSHA-000255", "OSHA-000250"])
    status, body = api.post(f"{BATCH}/{job_id}/retry")
    assert (status, body["shortfall"]) == (422, 98)
    status, body = api.post(f"{BATCH}/{job_id}/retry", {"onDemandBelowMinimum": True})
    assert status == 200
    assert (body["violationCount"], body["retryOf"]) == (2, job_id)
    assert world.records(body["jobId"]) == ["OSHA-000255", "OSHA-000250"]
    assert api.post(f"{BATCH}/{job_id}/retry", {"onDemand": True})[0] == 400
    status, body = api.post(f"{BATCH}/{job_id}/retry", f'{{"maxSpendUSD": {5_000 * "9"}}}')
    assert (status, body["problems"][0]["message"]) == (400, "the body is not JSON")
    wrong = {"batch": {"maxTokens": 0, "modelId": "amazon.nova-lite"}}
    status, body = api.post(f"{BATCH}/{job_id}/retry", wrong)
    assert (status, [problem["path"] for problem in body["problems"]]) == (400, ["batch.maxTokens", "batch.modelId"])


def test_a_retry_of_a_job_that_was_refused_for_its_shortfall_takes_the_records_of_its_config(
    world: JobsWorld, api: Api
) -> None:
    config = {"filters": {"agencies": ["OSHA"]}, "limits": {"maxViolations": 3}}
    job_id = api.post(BATCH, {"config": config})[1]["jobId"]
    assert api.post(f"{BATCH}/{job_id}/retry")[1]["shortfall"] == 97
    status, body = api.post(f"{BATCH}/{job_id}/retry", {"onDemandBelowMinimum": True})
    assert (status, body["violationCount"], body["retryOf"]) == (200, 3, job_id)
    assert world.records(body["jobId"]) == ["OSHA-000259", "OSHA-000258", "OSHA-000257"]


def test_a_retry_changes_what_its_body_names(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    world.end(job_id, ["OSHA-000255", "OSHA-000250"])
    changes = {"batch": {"maxTokens": 900, "timeoutHours": 48}, "onDemandBelowMinimum": True}
    retried = world.item(api.post(f"{BATCH}/{job_id}/retry", changes)[1]["jobId"])
    before = world.item(job_id)
    assert retried is not None
    assert before is not None
    batch = {**before["config"]["batch"], "maxTokens": 900, "timeoutHours": 48, "onDemandBelowMinimum": True}
    assert retried["config"] == {**before["config"], "batch": batch}


def test_the_same_request_with_the_same_key_answers_with_the_same_job(world: JobsWorld, api: Api) -> None:
    world.quotas = Quotas(minimum_records=50)
    key = {"idempotency-key": "order-7"}
    first = api.post(BATCH, CONFIG, headers=key)
    assert api.post(BATCH, CONFIG, headers=key) == first
    assert len(world.called) == 1
    status, body = api.post(BATCH, {"config": {"limits": {"maxViolations": 100}}}, headers=key)
    assert (status, body["message"][:58]) == (422, "This Idempotency-Key was used for another request: send a ")
    assert api.post(BATCH, CONFIG, headers={"idempotency-key": "order-8"})[1]["jobId"] != first[1]["jobId"]


@pytest.mark.parametrize(
    ("path", "request_body", "status"),
    [
        (BATCH, CONFIG, 200),
        (BATCH, {**CONFIG, "force": True}, 200),
        (f"{BATCH}/estimate", CONFIG, 200),
        (BATCH, {"config": {"filters": {"minFineAmount": 1e12}}}, 200),
        (BATCH, {"config": {"limits": {"maxViolations": 10}}}, 422),
    ],
    ids=["created", "forced", "estimated", "nothing to do", "refused"],
)
def test_the_id_of_a_job_is_a_key_of_its_request_whatever_the_outcome(
    world: JobsWorld, api: Api, path: str, request_body: dict[str, Any], status: int
) -> None:
    # Given a request whose outcome is not known in time
    world.runs_at_once = False
    begun, told = api.post(path, request_body)
    world.runs_at_once = True
    # When it comes again under the id that its answer names
    key = {"idempotency-key": told["jobId"]}
    first = api.post(path, request_body, headers=key)
    # Then that is its outcome, and no other job was begun
    assert (begun, first[0]) == (202, status)
    assert api.post(path, request_body, headers=key) == first
    assert {call["jobId"] for call in world.called} == {told["jobId"]}
    status, body = api.post(BATCH, {"config": {"limits": {"maxViolations": 99}}}, headers=key)
    assert (status, body["message"]) == (
        422,
        f"Job {told['jobId']} began with another request: send the request as it was.",
    )


def test_a_repeated_request_starts_a_processor_again_that_had_not_finished(world: JobsWorld, api: Api) -> None:
    world.runs_at_once = False
    key = {"idempotency-key": "order-7"}
    status, begun = api.post(BATCH, CONFIG, headers=key)
    world.runs_at_once = True
    again, created = api.post(BATCH, CONFIG, headers=key)
    assert (status, again) == (202, 200)
    assert created["jobId"] == begun["jobId"]
    assert world.called == 2 * [{"jobId": begun["jobId"]}]


def test_a_creation_whose_processor_died_is_told_as_failed_when_it_is_asked_for_again(
    world: JobsWorld, api: Api
) -> None:
    # Given a creation whose processor died, and which was given up
    world.runs_at_once = False
    key = {"idempotency-key": "order-7"}
    job_id = api.post(BATCH, CONFIG, headers=key)[1]["jobId"]
    world.update(job_id, status="Failed", message="The processor ended before the job was created.")
    # When the same request comes again
    status, body = api.post(BATCH, CONFIG, headers=key)
    # Then it has not been created
    assert status == 502
    assert fits(bodies.Refused, body)
    assert (body["message"], body["jobId"]) == ("Failed to create batch job", job_id)
    assert body["reason"] == "The processor ended before the job was created."
    assert len(world.called) == 1


def test_a_request_that_is_repeated_within_minutes_is_the_job_that_it_began(world: JobsWorld, api: Api) -> None:
    # Given a creation that its caller gave up waiting for
    world.runs_at_once = False
    begun = api.post(BATCH, CONFIG)[1]
    world.runs_at_once = True
    # When the same request comes again, without a key
    status, body = api.post(BATCH, CONFIG)
    # Then it is that job, and so it is once it has been created
    assert (status, body["jobId"], body["repeated"]) == (200, begun["jobId"], True)
    assert fits(bodies.Created, body)
    world.clock.pass_by(minutes=9)
    assert api.post(BATCH, CONFIG)[1]["jobId"] == begun["jobId"]
    assert len(api.get(f"{BATCH}/jobs")[1]["jobs"]) == 1


def test_a_repeated_request_is_a_new_job_by_force_later_from_another_caller_or_after_a_refusal(
    world: JobsWorld, api: Api
) -> None:
    world.quotas = Quotas(minimum_records=10)
    config = {"config": {"limits": {"maxViolations": 10}}}
    first = api.post(BATCH, config)[1]
    forced = api.post(BATCH, {**config, "force": True})[1]
    other = Api(world, caller="arn:aws:iam::000000000000:user/other").post(BATCH, config)[1]
    world.clock.pass_by(minutes=10)
    later = api.post(BATCH, config)[1]
    assert len({one["jobId"] for one in (first, forced, other, later)}) == 4
    assert "repeated" not in {*forced, *other, *later}
    assert api.post(BATCH, config)[1]["jobId"] == later["jobId"]
    # And a request that was refused may be sent again at once
    world.quotas = Quotas()
    small = {"config": {"limits": {"maxViolations": 37}}}
    refused = api.post(BATCH, small)
    world.quotas = Quotas(minimum_records=10)
    assert refused[0] == 422
    assert api.post(BATCH, small)[0] == 200


def test_a_retry_says_when_the_same_input_will_fail_again(world: JobsWorld, api: Api) -> None:
    world.quotas = Quotas(minimum_records=1)
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    world.end(job_id, ["OSHA-000255", "OSHA-000254"])
    group = {"error": "e", "reason": "Input is too long", "code": 400, "count": 2, "example": "OSHA-000255"}
    world.update(job_id, failures=[{**group, "sameInputFails": True}])
    status, body = api.get(f"{BATCH}/{job_id}")
    assert fits(bodies.Job, body)
    status, body = api.post(f"{BATCH}/{job_id}/retry")
    assert fits(bodies.Created, body)
    assert status == 200
    (warning,) = body["warnings"]
    assert warning.startswith(
        '2 records failed with an error that the same input causes again, such as "Input is too long" (400) for OSHA-'
    )
    # With another model, it may not fail
    model = {"batch": {"modelId": "amazon.nova-micro-v1:0"}, "force": True}
    assert "warnings" not in api.post(f"{BATCH}/{job_id}/retry", model)[1]


def test_a_model_that_ends_is_named_with_its_date(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    world.end(job_id, ["OSHA-000255"])
    model = world.models[MODEL]
    # Given a model that ends in nine days, Then jobs on it are created with a warning
    world.models = {**world.models, MODEL: model.model_copy(update={"end_of_life": date(2026, 11, 30)})}
    for path, body in ((BATCH, {**CONFIG, "force": True}), (f"{BATCH}/{job_id}/retry", {"onDemandBelowMinimum": True})):
        status, answer = api.post(path, body)
        assert status == 200
        assert answer["warnings"][0].startswith(f"AWS ends {MODEL} on 2026-11-30: ")
    # When it has ended, Then no request is taken on it, the default and a retry included
    world.models = {**world.models, MODEL: model.model_copy(update={"end_of_life": date(2026, 11, 21)})}
    for path, body in ((BATCH, CONFIG), (f"{BATCH}/estimate", CONFIG), (f"{BATCH}/{job_id}/retry", {})):
        status, answer = api.post(path, body)
        assert status == 400
        assert answer["problems"][0]["message"] == "AWS ended this model on 2026-11-21"
    (problem,) = process(CONFIG, world.services(), default_model=MODEL)["problems"]
    assert problem["message"] == "AWS ended this model on 2026-11-21"


def test_a_retry_that_is_repeated_within_minutes_is_one_job(world: JobsWorld, api: Api) -> None:
    job_id = api.post(BATCH, CONFIG)[1]["jobId"]
    world.end(job_id, ["OSHA-000255"])
    first = api.post(f"{BATCH}/{job_id}/retry", {"onDemandBelowMinimum": True})[1]
    again = api.post(f"{BATCH}/{job_id}/retry", {"onDemandBelowMinimum": True})[1]
    assert (again["jobId"], again["repeated"]) == (first["jobId"], True)


def test_the_openapi_document_names_every_route_its_bodies_and_its_errors(api: Api) -> None:
    status, document = api.get("/admin/openapi.json")
    assert status == 200
    routes = {
        (method, path): set(op["responses"]) for path, ops in document["paths"].items() for method, op in ops.items()
    }
    assert all(codes >= ANYWHERE for codes in routes.values())
    assert {route: codes - ANYWHERE for route, codes in routes.items()} == {
        ("post", BATCH): {"200", "202", "400", "422", "502"},
        ("post", f"{BATCH}/estimate"): {"200", "202", "400", "422", "502"},
        ("get", f"{BATCH}/jobs"): {"200", "400"},
        ("get", f"{BATCH}/{{jobId}}"): {"200", "404"},
        ("get", f"{BATCH}/{{jobId}}/records"): {"200", "400", "404"},
        ("post", f"{BATCH}/{{jobId}}/stop"): {"200", "202", "404"},
        ("post", f"{BATCH}/{{jobId}}/retry"): {"200", "202", "400", "404", "409", "422", "502"},
    }
    assert [*document["components"]["securitySchemes"]] == ["sigv4", "token"]
    assert document["security"] == [{"sigv4": []}, {"token": []}]
    schemas = document["components"]["schemas"]
    assert "maxSpendUSD" in schemas["Limits"]["properties"]
    assert "minFineAmount" in schemas["Filters"]["properties"]
    assert "HTTPValidationError" not in json.dumps(document)
    referenced = {
        text.rpartition("/")[2] for text in json.dumps(document).split('"') if text.startswith("#/components/")
    }
    assert referenced == set(schemas)


def test_the_openapi_document_says_what_a_query_and_a_body_may_hold(api: Api) -> None:
    document = api.get("/admin/openapi.json")[1]
    listing = document["paths"][f"{BATCH}/jobs"]["get"]["parameters"]
    status, limit, _ = (parameter["schema"] for parameter in listing)
    assert status["enum"] == ["InProgress", "Completed", "Failed"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 100, 20)
    schemas = document["components"]["schemas"]
    not_null = {
        f"{name}.{field}"
        for name in (
            *("JobRequest", "JobConfig", "Filters", "DateRange", "Limits", "Batch", "FlatPricing"),
            *("RetryRequest", "RetryBatch"),
        )
        for field, schema in schemas[name]["properties"].items()
        if {"type": "null"} not in schema.get("anyOf", ())
    }
    assert not_null == {"JobRequest.config", "FlatPricing.method"}, "these are required"
    assert schemas["Batch"]["properties"]["maxTokens"]["anyOf"][0]["maximum"] == 8_192


@pytest.mark.parametrize("path", ["/admin/nothing", f"{BATCH}/a/b/c", f"{BATCH}/\N{SNOWMAN}\n"])
def test_an_unknown_route_is_404_in_the_documented_form(api: Api, path: str) -> None:
    status, body = api.get(path)
    assert status == 404
    assert fits(bodies.Said, body)


def test_the_document_can_be_made_without_any_service() -> None:
    def no_services() -> Any:
        raise AssertionError("not needed for the document")

    assert openapi_document(admin_app(no_services, no_services))["openapi"].startswith("3.")
