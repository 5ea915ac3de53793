"""A console over the real admin API, with jobs on moto and a lake in memory; its answers can be late or wrong."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest

from batch_processor_client import jobs
from batch_processor_client.console.app import create_app
from batch_processor_client.console.page import Console
from batch_processor_client.deployment import Deployment
from bedrock_batches.api.admin_http import admin_app
from bedrock_batches.results.ports import ContentItem
from bedrock_batches.results.violations_dynamodb import stored_item
from bedrock_batches.submit import names
from bedrock_batches.violations import GeneratedContent
from foundation.aws.dynamodb_items import from_item
from tests.integration.console.browser import PORT, TOKEN, Browser
from tests.integration.console.conftest import IMAGE, RIGHT_TO_LEFT, SCRIPT
from tests.support.bedrock_jobs import AGENCIES, JobsWorld, answer_part
from tests.support.http_api import Context, event_of
from tests.unit.client.fakes import OUTPUTS, refusal

VIOLATIONS_TABLE = "VentureOS-Violations"
FUNCTION = "ventureos-bedrock-batch-result-stage"
HOSTILE_ID = f"OSHA-{IMAGE}\"'/../x"
"""A record's id can have any character but control characters."""
HOSTILE_CONTENT = {
    "title": f"Title {IMAGE}",
    "description": f"Description {SCRIPT} {RIGHT_TO_LEFT}",
    "tags": ["safety", "<b>bold</b>"],
}
GENERATED_AT = "2026-11-21T10:00:00.000Z"


@dataclass
class FakeApi:
    """The admin API in this process. ``faults`` are answers in its place; while ``late`` is set, an answer to a request
    that is done already does not arrive before its event is set."""

    world: JobsWorld
    faults: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    late: threading.Event | None = None
    keys: list[str] = field(default_factory=list)
    _going_on: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _resolving: threading.Lock = field(default_factory=threading.Lock)
    """Powertools keeps the current event in a class, so one call at a time is resolved, as in a function."""

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        self._count(1)
        try:
            return self._answer(method, path, body, headers)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._going_on += change
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait for the requests that a page did not wait for."""
        with self._changed:
            self._changed.wait_for(lambda: self._going_on == 0)

    def _answer(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> tuple[int, dict[str, Any]]:
        if self.faults:
            return self.faults[0]
        late, given = self.late, {"Content-Type": "application/json", **(headers or {})}
        if "Idempotency-Key" in given:
            self.keys.append(given["Idempotency-Key"])
        route, _, query = path.partition("?")
        content = None if body is None else json.dumps(body).encode()
        event = event_of(method, route, query=dict(parse_qsl(query)), headers=given, body=content)
        with self._resolving:
            app = admin_app(self.world.admin, lambda: self.world.models)
            answer = app.resolve(event, Context())  # type: ignore[arg-type]
        if late is not None:
            late.wait()
        return int(answer["statusCode"]), json.loads(str(answer["body"]))


@dataclass
class FakeFunction:
    """The function that reads answers again: 3 of 4 can be read."""

    stored: list[bool] = field(default_factory=list)

    def invoke(self, **request: Any) -> dict[str, Any]:
        assert request["FunctionName"] == FUNCTION
        self.stored.append(not json.loads(request["Payload"])["reparse"]["dryRun"])
        found = {"answers": 4, "read": 3, "costUSD": 0.0, "complete": True, "last": "part-1"}
        return {"Payload": io.BytesIO(json.dumps(found).encode())}


class FakeIdentity:
    """STS, where the credentials of the caller have expired."""

    def get_caller_identity(self) -> None:
        raise refusal("ExpiredToken", "GetCallerIdentity")


@dataclass
class JobsConsole:
    browser: Browser
    console: Console
    api: FakeApi
    function: FakeFunction
    world: JobsWorld
    clients: dict[str, Any]

    @property
    def deployment(self) -> Deployment:
        return self.console.deployment

    def job(self, records: int = 120, **limits: Any) -> str:
        """A job of the records with the highest fines; its id."""
        made = jobs.create(self.deployment, {"limits": {"maxViolations": records, **limits}}, force=True)
        assert made.job_id is not None
        return made.job_id

    def answer(self, job_id: str) -> list[str]:
        """The first record gets content, the second fails, both with hostile texts; the ids of the job's records."""
        records = self.world.records(job_id)
        answer_part(self.world, job_id, [0, 1], [0])
        reason = {"recordId": records[1], "error": "NoContent", "reason": f"it says {SCRIPT}"}
        self.world.objects.put(f"{names.errors_prefix(job_id)}0001-0001.jsonl", json.dumps(reason).encode() + b"\n")
        self.put_content(records[0], job_id)
        return records

    def put_content(self, record_id: str, job_id: str, **content: Any) -> None:
        item = ContentItem(
            violation_id=record_id,
            agency="osha",
            content=GeneratedContent.model_validate({**HOSTILE_CONTENT, **content}),
            generated_at=GENERATED_AT,
            job_id=job_id,
            model_id="amazon.nova-lite-v1:0",
            prompt_version="violations-1",
            input_tokens=10,
            output_tokens=5,
            stop_reason="end_turn",
        )
        boto3.client("dynamodb").put_item(TableName=VIOLATIONS_TABLE, Item=stored_item(item))

    def content(self, record_id: str) -> dict[str, Any]:
        """The stored item of a record."""
        key = {"PK": {"S": f"VIOLATION#{record_id}"}, "SK": {"S": "BEDROCK_CONTENT"}}
        return from_item(boto3.client("dynamodb").get_item(TableName=VIOLATIONS_TABLE, Key=key)["Item"])


def jobs_console(world: JobsWorld, monkeypatch: pytest.MonkeyPatch) -> JobsConsole:
    """The console of a deployment whose jobs are those of ``world``."""
    world.dynamodb.create_table(
        TableName=VIOLATIONS_TABLE,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
        BillingMode="PAY_PER_REQUEST",
    )
    deployment = Deployment.model_validate(
        {
            **OUTPUTS,
            "admin_api_url": "https://api.example",
            "violations_table": VIOLATIONS_TABLE,
            "lake_agencies": list(AGENCIES),
            "bedrock_function_names": {"bedrock_batch_result": FUNCTION},
        }
    )
    api, function = FakeApi(world), FakeFunction()
    clients: dict[str, Any] = {"lambda": function}
    make: Callable[..., Any] = boto3.client
    monkeypatch.setattr(jobs, "AdminApi", lambda *_: api)
    monkeypatch.setattr(Deployment, "client", lambda _, service, config=None: clients.get(service) or make(service))
    console = Console(deployment)
    browser = Browser(create_app(deployment, TOKEN, PORT, console), console.form_token)
    return JobsConsole(browser, console, api, function, world, clients)
