"""Operations on jobs of Bedrock batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from bedrock_batches.results.messages import Reparse, ReparseJob

FUNCTION_SECONDS = 300
# One try: a second one would start while the function still works.
PATIENT = Config(read_timeout=FUNCTION_SECONDS + 30, retries={"total_max_attempts": 1})


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
