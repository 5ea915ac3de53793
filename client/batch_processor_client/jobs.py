"""Operations on jobs of Bedrock batches: through the admin API, and for a reparse through the function itself."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field

from batch_processor_client.admin_api import AdminApi
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from bedrock_batches.results.messages import Reparse, ReparseJob
from foundation.aws.dynamodb_items import from_item

FUNCTION_SECONDS = 300
# One try: a second one would start while the function still works.
PATIENT = Config(read_timeout=FUNCTION_SECONDS + 30, retries={"total_max_attempts": 1})


BATCH = "/admin/bedrock/batch"
BEGUN = 202
POLL_SECONDS = 2.0
LONGEST_SECONDS = 900.0
"""A creation or an estimate ends within the time-out of its function."""
MOST_ITEMS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""


class OfApi(BaseModel):
    """An answer of the admin API. Fields without a name here are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Job(OfApi):
    """A job. ``status`` is InProgress, Completed or Failed; ``message`` says why it failed."""

    job_id: str = Field(alias="jobId")
    status: str
    violation_count: int = Field(default=0, alias="violationCount")
    created_at: str = Field(default="", alias="createdAt")
    message: str = ""
    stats: dict[str, int] = {}


class JobPage(OfApi):
    """Jobs, newest first. ``next_cursor`` gives the next ones, None when there are none."""

    jobs: list[Job]
    next_cursor: str | None = Field(default=None, alias="nextCursor")


class Estimate(OfApi):
    """What a job takes: ``estimate`` has violationCount, totalTokens, costUSD and costPerViolation.

    ``reason`` says why a job of these records would be refused, "" if it would not.
    """

    violation_count: int = Field(alias="violationCount")
    estimate: dict[str, float]
    reason: str = ""


class Creation(OfApi):
    """The answer to a creation. ``job_id`` is None when no record was left, for ``emptied_by``."""

    job_id: str | None = Field(default=None, alias="jobId")
    message: str
    violation_count: int = Field(default=0, alias="violationCount")
    emptied_by: str | None = Field(default=None, alias="emptiedBy")


class Content(BaseModel):
    """A record of a job. ``content`` is its item in the table of violations, {} without content."""

    model_config = ConfigDict(frozen=True)

    record_id: str
    outcome: str
    reason: str = ""
    content: dict[str, Any] = {}


class Answered(BaseModel):
    """Any answer of the admin API, refusals included."""

    model_config = ConfigDict(frozen=True)

    status: int
    body: dict[str, Any]


def request(
    deployment: Deployment, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answered:
    """Send a request that is signed with the user's own credentials. Raises ClientError without Bedrock batches."""
    api = AdminApi(deployment.bedrock(deployment.admin_api_url), deployment.region, deployment.session())
    status, answer = api.request(method, path, body, headers)
    return Answered(status=status, body=answer)


def estimate(deployment: Deployment, config: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> Estimate:
    """What a job of this ``config`` takes and costs. Nothing is created. Raises ClientError with every problem."""
    return Estimate.model_validate(_post(deployment, f"{BATCH}/estimate", {"config": config}, wait))


def create(
    deployment: Deployment, config: dict[str, Any], *, force: bool = False, wait: Callable[[float], None] = time.sleep
) -> Creation:
    """Create a job of this ``config``. With ``force``, also if the same one was created within ten minutes.

    Raises ClientError with every problem of the request, or with the reason for which Bedrock refuses the job.
    """
    body = {"config": config, **({"force": True} if force else {})}
    return Creation.model_validate(_post(deployment, BATCH, body, wait))


def retry_job(
    deployment: Deployment, job_id: str, changes: dict[str, Any], wait: Callable[[float], None] = time.sleep
) -> Creation:
    """Create a job of the records that have no content. ``changes`` are those of the API's retry."""
    return Creation.model_validate(_post(deployment, f"{_path(job_id)}/retry", changes, wait))


def list_jobs(deployment: Deployment, *, status: str = "", limit: int = 20, cursor: str = "") -> JobPage:
    """Up to ``limit`` jobs, newest first. ``status`` is InProgress, Completed or Failed."""
    asked = {"limit": limit, "status": status, "cursor": cursor}
    query = urlencode({name: value for name, value in asked.items() if value})
    return JobPage.model_validate(_ask(deployment, "GET", f"{BATCH}/jobs?{query}"))


def get_job(deployment: Deployment, job_id: str) -> Job:
    """One job, with its live counts. Raises ClientError if there is no such job."""
    return Job.model_validate(_ask(deployment, "GET", _path(job_id)))


def stop_job(deployment: Deployment, job_id: str) -> Job:
    """Stop a job and keep what is done. Nothing happens to one that has ended."""
    return Job.model_validate(_ask(deployment, "POST", f"{_path(job_id)}/stop"))


def content(deployment: Deployment, job_id: str, limit: int = 1_000) -> Iterator[Content]:
    """Up to ``limit`` records of a job in the order of its input, with their generated content."""
    table, cursor = deployment.client("dynamodb"), ""
    while limit > 0:
        query = urlencode({"limit": min(limit, MOST_ITEMS), **({"cursor": cursor} if cursor else {})})
        page = _ask(deployment, "GET", f"{_path(job_id)}/records?{query}")
        records = page["records"]
        items = _items(table, [record["content"] for record in records if record.get("content")])
        for record in records:
            key = record.get("content") or {}
            item = items.get((key.get("PK", ""), key.get("SK", "")), {})
            yield Content(
                record_id=record["recordId"],
                outcome=record["outcome"],
                reason=record.get("reason") or "",
                content={name: value for name, value in item.items() if name not in ("PK", "SK")},
            )
        limit -= len(records)
        cursor = page.get("nextCursor") or ""
        if not cursor:
            return


def _items(dynamodb: Any, places: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The items of these tables and keys."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in {place["table"] for place in places}:
        keys = [{name: {"S": place[name]} for name in ("PK", "SK")} for place in places if place["table"] == table]
        wanted: dict[str, Any] = {table: {"Keys": keys}}
        while wanted:
            answer = dynamodb.batch_get_item(RequestItems=wanted)
            for item in map(from_item, answer["Responses"].get(table, [])):
                found[item["PK"], item["SK"]] = item
            wanted = answer.get("UnprocessedKeys") or {}
    return found


def _path(job_id: str) -> str:
    return f"{BATCH}/{quote(job_id, safe='')}"


def _post(deployment: Deployment, path: str, body: Any, wait: Callable[[float], None]) -> dict[str, Any]:
    """The final answer. One that takes long is asked for again under the request's key, which pays nothing twice."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(int(LONGEST_SECONDS / POLL_SECONDS)):
        answer = request(deployment, "POST", path, body, headers)
        if answer.status != BEGUN:
            return _accepted(answer, "POST", path)
        wait(POLL_SECONDS)
    raise ClientError(f"{path} has no answer yet: look at the job {answer.body.get('jobId', '')}.")


def _ask(deployment: Deployment, method: str, path: str) -> dict[str, Any]:
    return _accepted(request(deployment, method, path), method, path)


def _accepted(answer: Answered, method: str, path: str) -> dict[str, Any]:
    """The body. Raises ClientError with every problem that the API names."""
    if answer.status < 300:
        return answer.body
    lines = [f"{method} {path.partition('?')[0]} was refused ({answer.status}): {answer.body.get('message', '')}"]
    if answer.body.get("reason"):
        lines.append(str(answer.body["reason"]))
    problems = answer.body.get("problems", [])
    lines += [f"{problem['path']}: {problem['message']}. {problem['fix']}" for problem in problems]
    raise ClientError("\n".join(lines))


class Reparsed(BaseModel):
    """Answers of records without content: how many there are, and how many the current parser can read. ``stored`` says
    whether their content is stored now."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    answers: int
    read: int
    cost_usd: float
    stored: bool


class _Call(BaseModel):
    """The answer of the function (``bedrock_batches.results.reparse.Reparsed``)."""

    answers: int
    read: int
    cost_usd: float = Field(alias="costUSD")
    complete: bool
    last: str = ""


def reparse(deployment: Deployment, job_id: str, *, store: bool) -> Reparsed:
    """Read the stored answers of a job's records without content again; store the content that they hold if ``store``.

    It costs nothing at Bedrock. Raises ClientError if the deployment has no Bedrock batches, or if the function fails.
    """
    calls = list(_calls(deployment, job_id, store=store))
    return Reparsed(
        job_id=job_id,
        answers=sum(call.answers for call in calls),
        read=sum(call.read for call in calls),
        cost_usd=sum(call.cost_usd for call in calls),
        stored=store,
    )


def _calls(deployment: Deployment, job_id: str, *, store: bool) -> Iterator[_Call]:
    """Call the function until it has read all objects of the job; yields the answer of each call."""
    function, client = deployment.bedrock_function("bedrock_batch_result"), deployment.client("lambda", PATIENT)
    after = ""
    while True:
        message = ReparseJob(reparse=Reparse(job_id=job_id, dry_run=not store, after=after))
        call = _Call.model_validate(_invoke(client, function, message.payload()))
        yield call
        if call.complete:
            return
        if call.last in ("", after):
            raise ClientError("The function had no time for a single object. Try again later.")
        after = call.last


def _invoke(client: Any, function: str, payload: dict[str, Any]) -> Any:
    answer = client.invoke(FunctionName=function, Payload=json.dumps(payload).encode())
    document = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise ClientError(f"{function} failed: {document.get('errorType')}: {document.get('errorMessage')}")
    return document
