"""Operations on jobs of Bedrock batches: through the admin API, and for a reparse through the function itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field

from batch_processor_client.admin_api import AdminApi
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ApiRefusedError, ClientError
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
NOT_ALLOWED = 403
NO_SUCH_JOB = 404
MOST_RECORDS = 1_000
"""Records of a page that the admin API gives."""
MOST_ITEMS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""


class OfApi(BaseModel):
    """An answer of the admin API. Fields without a name here are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Part(OfApi):
    """A part of a job: a Bedrock job, or records that run at once. Times are ISO 8601, "" until they are known."""

    part: int
    status: str
    bedrock_status: str = Field(default="", alias="bedrockStatus")
    record_count: int = Field(default=0, alias="recordCount")
    message: str = ""
    submitted_at: str = Field(default="", alias="submittedAt")
    ended_at: str = Field(default="", alias="endedAt")
    input_tokens: int | None = Field(default=None, alias="inputTokens")
    output_tokens: int | None = Field(default=None, alias="outputTokens")


class FailureGroup(OfApi):
    """Records without content for one reason. ``example`` is one of them. ``same_input_fails``: a retry cannot help."""

    error: str
    reason: str
    count: int
    example: str = ""
    same_input_fails: bool = Field(default=False, alias="sameInputFails")


class Job(OfApi):
    """A job. ``status`` is InProgress, Completed or Failed; ``message`` says why it failed."""

    job_id: str = Field(alias="jobId")
    status: str
    violation_count: int = Field(default=0, alias="violationCount")
    created_at: str = Field(default="", alias="createdAt")
    message: str = ""
    stats: dict[str, int] = {}

    @property
    def is_in_progress(self) -> bool:
        return self.status == "InProgress"


class JobDetails(Job):
    """All about one job. ``reason`` says more about a failure.

    ``record_counts`` has total, processed, succeeded and failed. Tokens and ``actual_cost_usd`` are None until the job
    has ended. Times are ISO 8601, "" until they are known.
    """

    reason: str = ""
    bedrock_status: str = Field(default="", alias="bedrockStatus")
    model_id: str = Field(default="", alias="modelId")
    retry_of: str = Field(default="", alias="retryOf")
    on_demand: bool | None = Field(default=None, alias="onDemand")
    config: dict[str, Any] = {}
    estimate: dict[str, float] = {}
    record_counts: dict[str, int] = Field(default={}, alias="recordCounts")
    left_out: dict[str, int] = Field(default={}, alias="leftOut")
    parts: list[Part] = []
    failures: list[FailureGroup] = []
    input_tokens: int | None = Field(default=None, alias="inputTokens")
    output_tokens: int | None = Field(default=None, alias="outputTokens")
    actual_cost_usd: float | None = Field(default=None, alias="actualCostUSD")
    expected_completion: str = Field(default="", alias="expectedCompletion")
    stop_requested_at: str = Field(default="", alias="stopRequestedAt")
    processed_at: str | None = Field(default=None, alias="processedAt")
    settled_at: str = Field(default="", alias="settledAt")

    @property
    def events(self) -> list[tuple[str, str]]:
        """Time and name of what has happened to the job, the earliest first."""
        found = [(self.created_at, "Requested"), (self.stop_requested_at, "Stop requested")]
        for part in self.parts:
            found.append((part.submitted_at, f"Part {part.part} submitted: {part.record_count:,} records"))
            found.append((part.ended_at, f"Part {part.part} ended: {part.bedrock_status or part.status}"))
        found.append((self.processed_at or "", f"Ended: {self.status}"))
        found.append((self.settled_at, "Settled: each record is in the lake, gone from it, or failed for good"))
        return sorted(((at, what) for at, what in found if at), key=lambda event: event[0])


class JobPage(OfApi):
    """Jobs, newest first. ``next_cursor`` gives the next ones, None when there are none."""

    jobs: list[Job]
    next_cursor: str | None = Field(default=None, alias="nextCursor")


class Step(OfApi):
    """The records that a filter or limit leaves of those before it."""

    name: str
    remaining: int


class Holder(OfApi):
    """A job, or an object with content that waits for the lake, that holds matching records."""

    holder: str
    records: int
    example: str = ""


class Estimate(OfApi):
    """The estimate of a job: ``estimate`` has violationCount, totalTokens, costUSD and costPerViolation.

    ``reason`` says why a job of these records would be refused, "" if it would not. ``filters`` are the steps from all
    records of the agencies to those of the job; ``held_by`` names the holders of records that no job takes now.
    """

    violation_count: int = Field(alias="violationCount")
    estimate: dict[str, float]
    reason: str = ""
    filters: list[Step] = []
    held_by: list[Holder] = Field(default=[], alias="heldBy")
    warnings: list[str] = []


class Creation(OfApi):
    """The answer to a creation. ``job_id`` is None when no record was left, for ``emptied_by``."""

    job_id: str | None = Field(default=None, alias="jobId")
    message: str
    violation_count: int = Field(default=0, alias="violationCount")
    emptied_by: str | None = Field(default=None, alias="emptiedBy")
    filters: list[Step] = []
    held_by: list[Holder] = Field(default=[], alias="heldBy")
    warnings: list[str] = []
    repeated: bool = False
    """Whether an equal request had created the job within the last minutes."""


class Content(BaseModel):
    """A record of a job. ``content`` is its item in the table of violations, {} without content."""

    model_config = ConfigDict(frozen=True)

    record_id: str
    outcome: str
    reason: str = ""
    agency: str = ""
    content: dict[str, Any] = {}


class ContentPage(BaseModel):
    """Records of a job in the order of its input. ``next_cursor`` gives the next ones, "" when there are none."""

    model_config = ConfigDict(frozen=True)

    records: list[Content]
    next_cursor: str = ""


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
    """Estimate the records and cost of a job with this ``config``. Raises ClientError with every problem."""
    return Estimate.model_validate(_post(deployment, f"{BATCH}/estimate", {"config": config}, wait))


def create(
    deployment: Deployment,
    config: dict[str, Any],
    *,
    force: bool = False,
    key: str = "",
    wait: Callable[[float], None] = time.sleep,
) -> Creation:
    """Create a job of this ``config``. The same request within ten minutes gives the same job, unless ``force``.

    With a ``key``, the same request gives the same job for a day, and another key gives another job. Raises
    ApiRefusedError with every problem of the request, or with the reason for which Bedrock refuses the job.
    """
    body = {"config": config, **({"force": True} if force else {})}
    return Creation.model_validate(_post(deployment, BATCH, body, wait, key))


def retry_job(
    deployment: Deployment,
    job_id: str,
    changes: dict[str, Any],
    *,
    force: bool = False,
    key: str = "",
    wait: Callable[[float], None] = time.sleep,
) -> Creation:
    """Create a job of the records that have no content. ``changes`` are those of the API's retry.

    ``force`` and ``key`` are as above.
    """
    body = {**changes, **({"force": True} if force else {})}
    with _of_job(deployment, job_id):
        return Creation.model_validate(_post(deployment, f"{_path(job_id)}/retry", body, wait, key))


def list_jobs(deployment: Deployment, *, status: str = "", limit: int = 20, cursor: str = "") -> JobPage:
    """Up to ``limit`` jobs, newest first. ``status`` is InProgress, Completed or Failed."""
    asked = {"limit": limit, "status": status, "cursor": cursor}
    query = urlencode({name: value for name, value in asked.items() if value})
    return JobPage.model_validate(_ask(deployment, "GET", f"{BATCH}/jobs?{query}"))


def get_job(deployment: Deployment, job_id: str) -> JobDetails:
    """One job, with its live counts. Raises ClientError if there is no such job."""
    with _of_job(deployment, job_id):
        return JobDetails.model_validate(_ask(deployment, "GET", _path(job_id)))


def stop_job(deployment: Deployment, job_id: str) -> Job:
    """Stop a job and keep what is done. Nothing happens to one that has ended."""
    with _of_job(deployment, job_id):
        return Job.model_validate(_ask(deployment, "POST", f"{_path(job_id)}/stop"))


def content(deployment: Deployment, job_id: str, limit: int = 1_000) -> Iterator[Content]:
    """Up to ``limit`` records of a job in the order of its input, with their generated content."""
    cursor = ""
    while limit > 0:
        page = content_page(deployment, job_id, min(limit, MOST_RECORDS), cursor)
        yield from page.records
        limit -= len(page.records)
        cursor = page.next_cursor
        if not cursor:
            return


def content_page(deployment: Deployment, job_id: str, limit: int, cursor: str = "") -> ContentPage:
    """The records after the cursor, up to ``limit`` and ``MOST_RECORDS``, with their generated content."""
    query = urlencode({"limit": limit, **({"cursor": cursor} if cursor else {})})
    with _of_job(deployment, job_id):
        page = _ask(deployment, "GET", f"{_path(job_id)}/records?{query}")
    records = page["records"]
    places = [record["content"] for record in records if record.get("content")]
    items = _items(deployment.client("dynamodb"), places) if places else {}
    return ContentPage(
        records=[_content(record, items) for record in records], next_cursor=page.get("nextCursor") or ""
    )


def _content(record: dict[str, Any], items: dict[tuple[str, str], dict[str, Any]]) -> Content:
    key = record.get("content") or {}
    item = items.get((key.get("PK", ""), key.get("SK", "")), {})
    return Content(
        record_id=record["recordId"],
        outcome=record["outcome"],
        reason=record.get("reason") or "",
        agency=record.get("agency") or "",
        content={name: value for name, value in item.items() if name not in ("PK", "SK")},
    )


def _items(dynamodb: Any, places: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The items of these tables and keys."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in {place["table"] for place in places}:
        keys = [{name: {"S": place[name]} for name in ("PK", "SK")} for place in places if place["table"] == table]
        for first in range(0, len(keys), MOST_ITEMS):
            wanted: dict[str, Any] = {table: {"Keys": keys[first : first + MOST_ITEMS]}}
            while wanted:
                answer = dynamodb.batch_get_item(RequestItems=wanted)
                for item in map(from_item, answer["Responses"].get(table, [])):
                    found[item["PK"], item["SK"]] = item
                wanted = answer.get("UnprocessedKeys") or {}
    return found


@contextmanager
def _of_job(deployment: Deployment, job_id: str) -> Iterator[None]:
    """Requests about one job, which the API answers with 404 if it has no such job."""
    try:
        yield
    except ApiRefusedError as refused:
        if refused.status != NO_SUCH_JOB:
            raise
        environment = deployment.environment
        message = f"There is no job '{job_id}' in {environment}: see make jobs ENV={environment}."
        raise ApiRefusedError(f"{message} Jobs are kept for 30 days.", refused.status, []) from None


def _path(job_id: str) -> str:
    return f"{BATCH}/{quote(job_id, safe='')}"


def _post(deployment: Deployment, path: str, body: Any, wait: Callable[[float], None], key: str = "") -> dict[str, Any]:
    """The final answer. A slow one is asked for again with the key that the API gives, which pays nothing twice.

    Without a key, the API takes an equal request for a repetition of an earlier one. An earlier release of the API
    gives no key, and takes any that we choose for another request, so it is not asked again: ClientError names the job.
    """
    headers = {"Idempotency-Key": key} if key else {}
    repeated: dict[str, Any] = {}
    for _ in range(int(LONGEST_SECONDS / POLL_SECONDS)):
        answer = request(deployment, "POST", path, body, headers)
        if answer.status != BEGUN:
            return {**repeated, **_accepted(deployment, answer, "POST", path)}
        repeated = repeated or {name: value for name, value in answer.body.items() if name == "repeated"}
        if not (again := key or answer.body.get("idempotencyKey")):
            break
        headers = {"Idempotency-Key": again}
        wait(POLL_SECONDS)
    raise ClientError(f"{path} has no answer yet: look at the job {answer.body.get('jobId', '')}.")


def _ask(deployment: Deployment, method: str, path: str) -> dict[str, Any]:
    return _accepted(deployment, request(deployment, method, path), method, path)


def _accepted(deployment: Deployment, answer: Answered, method: str, path: str) -> dict[str, Any]:
    """The body. Raises ApiRefusedError with every problem that the API names.

    API Gateway answers 403 to expired credentials as to a missing permission; STS tells them apart.
    """
    if answer.status < 300:
        return answer.body
    if answer.status == NOT_ALLOWED:
        deployment.client("sts").get_caller_identity()
    lines = [f"{method} {path.partition('?')[0]} was refused ({answer.status}): {answer.body.get('message', '')}"]
    if answer.body.get("reason"):
        lines.append(str(answer.body["reason"]))
    problems = answer.body.get("problems", [])
    lines += [f"{problem['path']}: {problem['message']}. Fix: {problem['fix']}" for problem in problems]
    raise ApiRefusedError("\n".join(lines), answer.status, problems)


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
