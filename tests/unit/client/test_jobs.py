"""Jobs of Bedrock batches through the admin API."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from typer.testing import CliRunner, Result

from batch_processor_client import cli, content_edits, job_export, jobs
from batch_processor_client.admin_api import AdminApi
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import EXPECTED, ClientError
from foundation.aws.dynamodb_items import to_item
from tests.unit.client.fakes import OUTPUTS, fake_deployment

JOB = "batch-1790000000-0123abcd"
ONE = {"jobId": JOB, "status": "Completed", "violationCount": 3, "stats": {"processed": 2, "errors": 1}}
BEGUN = {"message": "Batch job is being created", "jobId": JOB, "idempotencyKey": JOB}
CREATED = {"message": "Batch job created successfully", "jobId": JOB, "violationCount": 3}
RECORDS = [
    {"recordId": "OSHA-1", "outcome": "Succeeded", "content": {"table": "violations", "PK": "V#1", "SK": "C"}},
    {"recordId": "OSHA-2", "outcome": "Failed", "reason": "no content", "content": None},
]


@dataclass
class FakeApi:
    """The admin API, with an answer for each request in turn, and the table with the content."""

    answers: list[tuple[int, dict[str, Any]]]
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        self.requests.append((method, path, body))
        self.keys.append((headers or {}).get("Idempotency-Key", ""))
        return self.answers.pop(0)

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        assert RequestItems == {"violations": {"Keys": [{"PK": {"S": "V#1"}, "SK": {"S": "C"}}]}}
        return {"Responses": {"violations": [to_item({"PK": "V#1", "SK": "C", "bedrock_title": "A title"})]}}


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.api = FakeApi([])
        fake_deployment(monkeypatch, dynamodb=self.api)
        monkeypatch.setattr(jobs, "AdminApi", lambda *_: self.api)
        outputs = {**OUTPUTS, "admin_api_url": "https://api.example"}
        self.deployment = Deployment.model_validate(outputs)
        self.outputs = folder / "outputs.json"
        self.outputs.write_text(json.dumps(outputs))

    def command(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["--outputs", str(self.outputs), *arguments])


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_a_creation_that_takes_long_is_asked_for_again_under_the_id_of_its_job(world: World) -> None:
    world.api.answers = [(202, BEGUN), (200, CREATED)]
    waited: list[float] = []
    created = jobs.create(world.deployment, {"limits": {"maxViolations": 3}}, force=True, wait=waited.append)
    assert (created.job_id, created.violation_count, len(waited), world.api.keys) == (JOB, 3, 1, ["", JOB])
    assert world.api.requests[0] == (
        "POST",
        "/admin/bedrock/batch",
        {"config": {"limits": {"maxViolations": 3}}, "force": True},
    )


def test_a_command_that_is_run_again_says_that_the_job_was_there(world: World, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"limits": {"maxViolations": 3}}')
    world.api.answers = [(202, {**BEGUN, "repeated": True}), (200, CREATED)]
    shown = world.command("create-job", "--input", str(request)).output
    assert "within the last ten minutes. For a second job, add FORCE=1 (--force)." in " ".join(shown.split())


def test_a_retry_is_repeated_by_the_option_that_its_message_names(world: World, tmp_path: Path) -> None:
    changes = tmp_path / "changes.json"
    changes.write_text('{"maxSpendUSD": 5}')
    world.api.answers = [(200, {**CREATED, "repeated": True}), (200, {**CREATED, "jobId": "batch-2"})]
    shown = world.command("retry-job", "--input", str(changes), JOB).output
    assert "For a second job, add FORCE=1 (--force)." in " ".join(shown.split())
    assert "batch-2: 3 records." in world.command("retry-job", "--input", str(changes), "--force", JOB).output
    assert [body for _, _, body in world.api.requests] == [{"maxSpendUSD": 5}, {"maxSpendUSD": 5, "force": True}]


def test_a_deployment_that_gives_no_key_is_not_asked_again(world: World) -> None:
    """The release before takes the id of a job for a new key, and would create another job."""
    world.api.answers = [(202, {"message": "Batch job is being created", "jobId": JOB}), (200, CREATED)]
    with pytest.raises(ClientError, match=f"look at the job {JOB}"):
        jobs.create(world.deployment, {}, wait=lambda _: None)
    assert world.api.keys == [""]


def test_a_key_of_the_caller_is_kept(world: World) -> None:
    world.api.answers = [(202, BEGUN), (200, CREATED)]
    jobs.create(world.deployment, {}, key="form-1", wait=lambda _: None)
    assert world.api.keys == ["form-1", "form-1"]


def test_every_problem_of_a_request_is_in_the_error(world: World) -> None:
    problems = [{"path": f"config.{name}", "value": "1", "message": "unknown", "fix": "Remove it"} for name in "ab"]
    world.api.answers = [(400, {"message": "The request is not valid", "problems": problems})]
    with pytest.raises(ClientError) as refused:
        jobs.estimate(world.deployment, {"a": 1, "b": 1})
    assert str(refused.value).splitlines() == [
        "POST /admin/bedrock/batch/estimate was refused (400): The request is not valid",
        "config.a: unknown. Fix: Remove it",
        "config.b: unknown. Fix: Remove it",
    ]


@pytest.mark.parametrize(
    "ask",
    [
        lambda deployment: jobs.get_job(deployment, "x"),
        lambda deployment: jobs.stop_job(deployment, "x"),
        lambda deployment: jobs.retry_job(deployment, "x", {}),
        lambda deployment: jobs.content_page(deployment, "x", 10),
    ],
    ids=["get", "stop", "retry", "content"],
)
def test_an_unknown_job_is_named_with_its_environment(world: World, ask: Callable[[Deployment], object]) -> None:
    world.api.answers = [(404, {"message": "There is no job x: jobs are kept for 30 days, estimates for a day."})]
    with pytest.raises(ClientError, match=f"^There is no job 'x' in {world.deployment.environment}: see make jobs"):
        ask(world.deployment)


def test_the_records_of_a_job_come_with_their_content_page_by_page(world: World) -> None:
    world.api.answers = [(200, {"records": RECORDS, "nextCursor": "next"}), (200, {"records": RECORDS[1:]})]
    found = list(jobs.content(world.deployment, JOB))
    assert [record.content for record in found] == [{"bedrock_title": "A title"}, {}, {}]
    assert [path for _, path, _ in world.api.requests] == [
        f"/admin/bedrock/batch/{JOB}/records?limit=1000",
        f"/admin/bedrock/batch/{JOB}/records?limit=998&cursor=next",
    ]


def test_the_commands_show_what_the_api_answers(world: World, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"config": {"filters": {"agencies": ["osha"]}}}))
    figures = {"violationCount": 3, "totalTokens": 900, "costUSD": 0.5}
    world.api.answers = [
        (200, {"jobs": [ONE], "nextCursor": "more"}),
        (200, ONE),
        (200, {"violationCount": 3, "estimate": figures}),
        (200, CREATED),
        (202, {"message": "Stop requested", "jobId": JOB, "status": "InProgress"}),
        (200, {**CREATED, "jobId": "batch-2"}),
        (200, {"records": RECORDS}),
        (200, ONE),
        (200, {"records": RECORDS}),
    ]
    listed = world.command("jobs", "--status", "Completed")
    assert JOB in listed.output
    assert "More: --cursor more" in listed.output
    assert json.loads(world.command("job", JOB).output)["stats"] == ONE["stats"]
    assert world.command("estimate", "--input", str(request)).output.startswith("3 records, 900 tokens, 0.5000 USD.")
    assert f"{JOB}: 3 records." in world.command("create-job", "--input", str(request)).output
    assert "Stop requested" in world.command("stop-job", JOB).output
    assert "batch-2: 3 records." in world.command("retry-job", JOB).output
    assert json.loads(world.command("content", JOB).output.splitlines()[0])["record_id"] == "OSHA-1"
    assert json.loads(world.command("job", JOB, "--json").output)["stats"] == ONE["stats"]
    assert json.loads(world.command("content", JOB, "--json").output.splitlines()[1])["record_id"] == "OSHA-2"
    assert world.api.requests[0][1] == "/admin/bedrock/batch/jobs?limit=20&status=Completed"
    assert world.api.requests[2][2] == {"config": {"filters": {"agencies": ["osha"]}}}


def test_content_is_changed_verified_and_exported_by_commands(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def edit(_: Deployment, record_id: str, **changes: Any) -> content_edits.StoredContent:
        given.append({"record": record_id, **changes})
        texts = {"title": "T", "description": "D", "generated_at": "2026-11-21T09:00:00.000Z"}
        return content_edits.StoredContent(record_id=record_id, tags=[], is_verified=True, **texts)

    monkeypatch.setattr(content_edits, "edit_content", edit)
    done = world.command("edit-content", "OSHA-1", "--title", "T", "--tag", "a", "--tag", " b", "--verify")
    assert done.output == "OSHA-1 is saved, verified. The sync brings it into the lake.\n"
    assert json.loads(world.command("edit-content", "OSHA-1", "--withdraw", "--json").output)["title"] == "T"
    assert given == [
        {"record": "OSHA-1", "title": "T", "description": None, "tags": ["a", "b"], "verified": True},
        {"record": "OSHA-1", "title": None, "description": None, "tags": None, "verified": False},
    ]
    world.api.answers = [(200, ONE), (200, {"records": RECORDS})]
    exported = world.command("export-job", JOB, str(tmp_path / "content.xlsx"))
    assert exported.output.endswith("content.xlsx: 2 records.\n")
    assert (tmp_path / "content.xlsx").read_bytes()[:2] == b"PK"


def test_an_export_says_how_many_records_it_has_written(world: World, tmp_path: Path) -> None:
    world.api.answers = [(200, ONE), (200, {"records": RECORDS})]
    told: list[tuple[int, int]] = []
    job_export.export_job(world.deployment, JOB, tmp_path / "content.xlsx", lambda *counts: told.append(counts))
    assert told == [(1, 3), (2, 3)]


def test_the_events_of_a_job_are_in_order() -> None:
    part = {"part": 1, "status": "ended", "recordCount": 3, "submittedAt": "2026-11-21T09:01:00Z"}
    job = jobs.JobDetails.model_validate(
        {**ONE, "createdAt": "2026-11-21T09:00:00Z", "processedAt": "2026-11-21T10:00:00Z", "parts": [part]}
    )
    assert [what for _, what in job.events] == ["Requested", "Part 1 submitted: 3 records", "Ended: Completed"]


@pytest.mark.parametrize("failure", [urllib.error.URLError("no route"), TimeoutError("timed out"), IncompleteRead(b"")])
def test_an_api_that_cannot_be_reached_is_an_expected_error(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    with pytest.raises(EXPECTED, match="Could not connect to the endpoint URL"):
        AdminApi("https://api.example", "us-east-1", None).request("GET", "/admin/bedrock/batch/jobs")


def test_a_page_of_a_proxy_in_place_of_an_answer_is_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = urllib.error.HTTPError("https://api.example", 502, "Bad", Message(), io.BytesIO(b"<h1>Bad Gateway</h1>"))

    def fail(*_: Any, **__: Any) -> None:
        raise refused

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    answer = AdminApi("https://api.example", "us-east-1", None).request("GET", "/")
    assert answer == (502, {"message": "<h1>Bad Gateway</h1>"})


def test_somebody_without_credentials_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session = boto3.Session(region_name="us-east-1")
    monkeypatch.setattr(session, "get_credentials", lambda: None)
    with pytest.raises(NoCredentialsError):
        AdminApi("https://api.example", "us-east-1", session).request("GET", "/")


def test_any_request_can_be_sent_signed(world: World) -> None:
    world.api.answers = [(200, {"jobs": []}), (404, {"message": "There is no job"})]
    assert json.loads(world.command("api", "get", "/admin/bedrock/batch/jobs").output) == {"jobs": []}
    assert world.command("api", "GET", "/admin/bedrock/batch/nope").exit_code == 1
    for body, said in (("{", "The body is not JSON: Expecting"), ("[" * 100_000, "The body is JSON nested too deep")):
        refused = world.command("api", "POST", "/admin/bedrock/batch/jobs", "--body", body)
        assert refused.exit_code == 1
        assert isinstance(refused.exception, ClientError)
        assert said in str(refused.exception)


def test_a_job_id_cannot_leave_its_path(world: World) -> None:
    world.api.answers = [(404, {"message": "There is no job"})]
    with pytest.raises(ClientError, match="There is no job"):
        jobs.get_job(world.deployment, "../openapi.json?x")
    assert world.api.requests[0][1] == "/admin/bedrock/batch/..%2Fopenapi.json%3Fx"


def test_without_bedrock_batches_there_is_no_api() -> None:
    with pytest.raises(ClientError, match="has no Bedrock batches"):
        jobs.list_jobs(Deployment.model_validate(OUTPUTS))
