"""The stored form of jobs and parts: it holds every field, and items of earlier releases stay readable."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from bedrock_batches.submit.job import (
    Creation,
    FailureGroup,
    Job,
    JobStatus,
    Part,
    PartStatus,
    RequestOutcome,
    Stats,
    new_job,
)
from bedrock_batches.submit.job_items import (
    UnreadableItemError,
    changes,
    item_of_job,
    item_of_part,
    job_of_item,
    part_of_item,
)
from bedrock_batches.submit.pricing import Rate

JOB_ID = "batch-1790000000-0123abcd"
MOMENT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
FULL_JOB = Job(
    job_id=JOB_ID,
    created_at=MOMENT,
    status=JobStatus.FAILED,
    creation=Creation.DONE,
    bedrock_status="Failed",
    job_arn="arn:job",
    config={"limits": {"maxSpendUSD": 1.5}},
    dry_run=False,
    retry_of="batch-1-a",
    message="Part 1: Failed.",
    reason="Too few.",
    shortfall=3,
    problems=({"path": "p", "value": "v", "message": "m", "fix": "f"},),
    emptied_by="limits",
    filters=({"name": "agencies", "remaining": 0},),
    left_out={"inFlight": 1, "unusableIds": 2},
    held_by=({"holder": "batch-1-b", "records": 1, "example": "O-1"},),
    unusable_ids=("O-2",),
    violation_count=7,
    estimate={"costUSD": 0.5},
    price=Rate(Decimal("0.1"), Decimal("0.2"), 500, flat_tokens=300),
    model_id="model",
    prompt_version="violations-1",
    part_count=1,
    on_demand=False,
    expected_completion=MOMENT,
    processed_at=MOMENT,
    stop_requested_at=MOMENT,
    stats=Stats(1, 2, 7),
    failures=(FailureGroup("error", "reason", 400, 2, "O-3", same_input_fails=True),),
    input_tokens=0,
    output_tokens=5,
    actual_cost_usd=0.0,
    outputs_taken=True,
    settled_at=MOMENT,
    schema_version=2,
    ttl=1_790_000_000,
    other={"owner": "Ann"},
)
FULL_PART = Part(
    job_id=JOB_ID,
    number=2,
    status=PartStatus.ENDED,
    job_name=f"{JOB_ID}-0002",
    input_key="input",
    records_key="records",
    record_count=7,
    size_bytes=700,
    model_id="model",
    timeout_hours=24,
    job_arn="arn:part",
    bedrock_status="Completed",
    message="said",
    processed_count=7,
    calls=8,
    input_tokens=70,
    output_tokens=35,
    submitted_at=MOMENT,
    ended_at=MOMENT,
)


def as_stored(item: dict[str, Any]) -> dict[str, Any]:
    """DynamoDB gives lists, whatever was written."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in item.items()}


def test_a_job_and_a_part_come_back_as_they_were_written() -> None:
    assert job_of_item(as_stored(item_of_job(FULL_JOB))) == FULL_JOB
    assert part_of_item(item_of_part(FULL_PART)) == FULL_PART


@pytest.mark.parametrize("name", [field.name for field in fields(Job) if field.name not in ("job_id", "created_at")])
def test_every_field_of_a_job_is_in_its_item(name: str) -> None:
    bare = Job(JOB_ID, MOMENT)
    assert (
        changes(item_of_job(bare), item_of_job(replace(bare, **{name: getattr(FULL_JOB, name)}))) or name == "dry_run"
    )


@pytest.mark.parametrize(
    "name", [field.name for field in fields(Part) if field.name not in ("job_id", "number", "status")]
)
def test_every_field_of_a_part_is_in_its_item(name: str) -> None:
    bare = Part(JOB_ID, 2, PartStatus.ENDED)
    assert changes(item_of_part(bare), item_of_part(replace(bare, **{name: getattr(FULL_PART, name)})))


def test_a_new_job_is_stored_as_the_releases_before_stored_it() -> None:
    assert item_of_job(new_job(JOB_ID, MOMENT, {"limits": {}}, retry_of="batch-1-a")) == {
        "PK": f"JOB#{JOB_ID}",
        "SK": "METADATA",
        "GSI1PK": "JOBS",
        "GSI1SK": f"2026-11-21T09:30:00.000Z#{JOB_ID}",
        "GSI2PK": "STATUS#InProgress",
        "jobId": JOB_ID,
        "jobArn": "",
        "status": "InProgress",
        "bedrockStatus": "",
        "creation": "Pending",
        "violationCount": 0,
        "config": {"limits": {}},
        "dryRun": False,
        "createdAt": "2026-11-21T09:30:00.000Z",
        "stats": {"processed": 0, "errors": 0, "total": 0},
        "retryOf": "batch-1-a",
    }
    estimate = item_of_job(new_job("estimate-1-a", MOMENT, {}, dry_run=True))
    assert estimate["ttl"] == int(MOMENT.timestamp()) + 86_400
    assert not {"GSI1PK", "GSI1SK", "GSI2PK"} & set(estimate), "an estimate is in no index"


def test_a_change_of_the_status_changes_the_index() -> None:
    before = new_job(JOB_ID, MOMENT, {})
    after = replace(before, status=JobStatus.COMPLETED, message="")
    assert changes(item_of_job(before), item_of_job(after)) == {"status": "Completed", "GSI2PK": "STATUS#Completed"}
    assert changes(item_of_job(FULL_JOB), item_of_job(replace(FULL_JOB, message=""))) == {"message": None}


def test_an_item_of_the_first_release_has_what_it_lacks_as_in_a_job_whose_processor_has_ended() -> None:
    item = {"PK": f"JOB#{JOB_ID}", "SK": "METADATA", "status": "Completed", "createdAt": "2026-11-21T09:30:00Z"}
    assert job_of_item({**item, "violationCount": 7}) == Job(
        JOB_ID,
        MOMENT,
        status=JobStatus.COMPLETED,
        creation=Creation.DONE,
        violation_count=7,
        stats=Stats(total=7),
    )


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"status": "Sleeping"}, "Sleeping"),
        ({"createdAt": "?"}, "isoformat"),
        ({"createdAt": None}, "isoformat"),
        ({"price": {"maxTokens": 1}}, "lacks"),
        ({"stats": None}, "get"),
        ({"failures": None}, "iterable"),
        ({"violationCount": "x"}, "invalid literal"),
    ],
)
def test_an_item_that_no_release_wrote_is_named(attributes: dict[str, Any], said: str) -> None:
    item = item_of_job(new_job(JOB_ID, MOMENT, {}))
    with pytest.raises(UnreadableItemError, match=rf"job {JOB_ID} .*{said}"):
        job_of_item({**item, **attributes})
    part = item_of_part(FULL_PART)
    with pytest.raises(UnreadableItemError, match=rf"part 2 of job {JOB_ID}"):
        part_of_item({**part, "status": "Sleeping"})


PENDING = new_job(JOB_ID, MOMENT, {})
FAILED = replace(PENDING, status=JobStatus.FAILED)
DONE = replace(PENDING, status=JobStatus.COMPLETED, creation=Creation.DONE)


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        (PENDING, RequestOutcome.UNDECIDED),
        (replace(PENDING, creation=Creation.WRITTEN), RequestOutcome.UNDECIDED),
        (replace(PENDING, creation=Creation.DONE, part_count=1), RequestOutcome.CREATED),
        (replace(FAILED, creation=Creation.DONE, reason="r", problems=({},)), RequestOutcome.INVALID),
        (replace(FAILED, creation=Creation.DONE, reason="r", part_count=1), RequestOutcome.REFUSED),
        (replace(FAILED, message="The processor ended."), RequestOutcome.DIED),
        (replace(FAILED, creation=Creation.DONE, part_count=1, message="m"), RequestOutcome.CREATED),
        (DONE, RequestOutcome.NOTHING),
        (replace(DONE, part_count=2), RequestOutcome.CREATED),
        (replace(DONE, dry_run=True, reason="Too few."), RequestOutcome.ESTIMATED),
    ],
)
def test_the_outcome_of_a_request_follows_from_the_state_of_its_job(job: Job, outcome: RequestOutcome) -> None:
    assert job.request_outcome is outcome
