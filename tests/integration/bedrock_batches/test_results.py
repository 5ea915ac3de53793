"""The handlers that take results and follow jobs, on moto."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest

from bedrock_batches import wiring, wiring_results
from bedrock_batches.results import output_lines
from bedrock_batches.submit import names
from bedrock_batches.submit.dynamodb import DynamoDbJobsTable
from bedrock_batches.submit.job import Stats
from bedrock_batches.submit.job_items import job_of_item, part_of_item
from foundation import settings
from foundation.aws import clients, factories
from tests.support.bedrock_results import (
    BUCKET,
    JOB_ID,
    FakeBedrock,
    World,
    add_job,
    answer_line,
    bedrock_id,
    error_line,
    job_arn,
    output_file_key,
    s3_event,
    violation_id,
)
from tests.support.deployment import scaled
from tests.support.moto_aws import moto_aws

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
JOBS_TABLE, VIOLATIONS_TABLE = "VentureOS-BedrockBatchJobs", "VentureOS-Violations"
CHUNK_RECORDS = scaled(output_lines.CHUNK_RECORDS, 100)
RECORDS = 2 * CHUNK_RECORDS + 100


class Context:
    function_name = "ventureos-bedrock-batch-result"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


@dataclass
class Caller:
    function_name: str
    calls: list[tuple[str, dict[str, Any]]]

    def call(self, payload: dict[str, Any]) -> None:
        self.calls.append((self.function_name, payload))


@dataclass
class Deployed:
    """Tables and bucket on moto, with a job in them; Bedrock and calls of functions are fakes."""

    bedrock: FakeBedrock = field(default_factory=FakeBedrock)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    queue_url: str = ""

    @property
    def jobs(self) -> DynamoDbJobsTable:
        return DynamoDbJobsTable(boto3.client("dynamodb"), JOBS_TABLE)

    def put(self, key: str, body: bytes) -> None:
        boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def errors(self) -> list[dict[str, Any]]:
        s3 = boto3.client("s3")
        keys = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"bedrock-batches/errors/{JOB_ID}/").get("Contents", [])
        bodies = [s3.get_object(Bucket=BUCKET, Key=key["Key"])["Body"].read() for key in keys]
        return [orjson.loads(line) for body in bodies for line in body.splitlines()]

    def items(self) -> list[dict[str, Any]]:
        pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=VIOLATIONS_TABLE)
        return [item for page in pages for item in page["Items"]]

    def messages(self) -> list[dict[str, Any]]:
        found = boto3.client("sqs").receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
        return [json.loads(json.loads(message["Body"])["Message"]) for message in found.get("Messages", [])]

    def run(self, name: str, event: dict[str, Any]) -> Any:
        """Call a handler as Lambda does: by its file, with an event that went through JSON."""
        spec = spec_from_file_location(f"{name}_handler", FUNCTIONS / name / "handler.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module.handler(orjson.loads(orjson.dumps(event)), Context())


def make_tables() -> None:
    client = boto3.client("dynamodb")
    keys = [("PK", "HASH"), ("SK", "RANGE")]
    indexes: list[Any] = [
        {
            "IndexName": index,
            "KeySchema": [
                {"AttributeName": partition, "KeyType": "HASH"},
                {"AttributeName": "GSI1SK", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
        for index, partition in ((names.JOBS_BY_CREATED, "GSI1PK"), (names.JOBS_BY_STATUS, "GSI2PK"))
    ]
    texts = ["PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK"]
    key_schema: list[Any] = [{"AttributeName": name, "KeyType": kind} for name, kind in keys]
    client.create_table(
        TableName=JOBS_TABLE,
        KeySchema=key_schema,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in texts],
        GlobalSecondaryIndexes=indexes,
        BillingMode="PAY_PER_REQUEST",
    )
    client.create_table(
        TableName=VIOLATIONS_TABLE,
        KeySchema=key_schema,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    modules = (clients, factories, wiring, wiring_results)
    caches = {value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")}
    for cache in caches:
        cache.cache_clear()
    settings._loaded.clear()
    deployed = Deployed()
    monkeypatch.setattr(output_lines, "CHUNK_RECORDS", CHUNK_RECORDS)
    monkeypatch.setattr(wiring_results, "caller", lambda name: Caller(name, deployed.calls))
    monkeypatch.setattr(wiring_results, "batch_inference", lambda role: deployed.bedrock)
    with moto_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        make_tables()
        topic = boto3.client("sns").create_topic(Name="notifications")["TopicArn"]
        deployed.queue_url = boto3.client("sqs").create_queue(QueueName="heard")["QueueUrl"]
        arn = boto3.client("sqs").get_queue_attributes(QueueUrl=deployed.queue_url, AttributeNames=["QueueArn"])
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        for name, value in {
            "POWERTOOLS_SERVICE_NAME": "bedrock",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "VIOLATIONS_TABLE": VIOLATIONS_TABLE,
            "BATCH_JOBS_TABLE": JOBS_TABLE,
            "DATA_BUCKET": BUCKET,
            "JOB_EVENTS_FUNCTION": "job-events",
            "BATCH_RESULT_FUNCTION": "batch-result",
            "BATCH_PROCESSOR_FUNCTION": "batch-processor",
            "JOB_ROLE_ARN": "arn:aws:iam::000000000000:role/job",
            "METRICS_NAMESPACE": "BatchProcessor",
            "NOTIFICATION_TOPIC_ARN": topic,
            "QUOTAS": "{}",
        }.items():
            monkeypatch.setenv(name, value)
        yield deployed
    for cache in caches:
        cache.cache_clear()
    settings._loaded.clear()


@pytest.fixture
def job(deployed: Deployed) -> Deployed:
    """A job of one part whose output is there: 1 % errors, and one record without an answer."""
    world = World()
    add_job(world, [RECORDS], price={"inputUSDPer1kTokens": "0.1", "outputUSDPer1kTokens": "0.2", "maxTokens": 100})
    deployed.jobs.create(job_of_item(world.jobs[JOB_ID]))
    deployed.jobs.put_parts(JOB_ID, [part_of_item(world.parts[JOB_ID][1])])
    for key, body in world.objects.items():
        deployed.put(key, body)
    lines = [error_line(violation_id(n)) if n % 100 == 0 else answer_line(violation_id(n)) for n in range(1, RECORDS)]
    deployed.put(output_file_key(), b"".join(reversed(lines)))
    manifest = {"inputTokenCount": 50_000, "outputTokenCount": 10_000}
    deployed.put(f"{names.output_prefix(JOB_ID)}{bedrock_id(1)}/manifest.json.out", orjson.dumps(manifest))
    deployed.bedrock.end(1, "Completed")
    return deployed


ERRORS = (RECORDS - 1) // 100
PROCESSED = RECORDS - 1 - ERRORS


def test_a_job_from_its_output_to_its_end(job: Deployed) -> None:
    (taken,) = job.run("bedrock_batch_result", s3_event(output_file_key()))["objects"]
    assert taken == {"key": output_file_key(), "outcome": "done", "processed": PROCESSED, "errors": ERRORS, "kept": 0}
    assert job.calls == [("job-events", {"jobId": JOB_ID})]

    ((_, payload),) = job.calls
    (reconciled,) = job.run("bedrock_job_events", payload)["jobs"]

    assert (reconciled["status"], reconciled["bedrockStatus"]) == ("Completed", "Completed")
    stored = job.jobs.get(JOB_ID)
    assert stored is not None
    assert stored.stats == Stats(PROCESSED, ERRORS, RECORDS)
    assert (stored.job_arn, stored.input_tokens, stored.actual_cost_usd) == (job_arn(1), 50_000, 7.0)
    items = job.items()
    assert len(items) == PROCESSED
    assert {item["agency"]["S"] for item in items} == {"osha"}
    errors = job.errors()
    assert len(errors) == ERRORS + 1
    assert [line["recordId"] for line in errors if line["error"] == "Not processed by Bedrock"] == [violation_id(0)]
    (message,) = job.messages()
    assert (message["jobId"], message["status"], message["stats"]["errors"]) == (JOB_ID, "Completed", ERRORS)


def test_the_same_event_again_changes_nothing(job: Deployed) -> None:
    job.run("bedrock_batch_result", s3_event(output_file_key()))
    before = sorted(job.items(), key=lambda item: item["PK"]["S"])

    (again,) = job.run("bedrock_batch_result", s3_event(output_file_key()))["objects"]

    assert again["outcome"] == "done before"
    assert sorted(job.items(), key=lambda item: item["PK"]["S"]) == before


def test_the_output_under_a_second_key_changes_neither_counts_nor_cost(job: Deployed) -> None:
    job.run("bedrock_batch_result", s3_event(output_file_key()))
    job.run("bedrock_job_events", {"jobId": JOB_ID})
    before = job.jobs.get(JOB_ID)
    body = boto3.client("s3").get_object(Bucket=BUCKET, Key=output_file_key())["Body"].read()

    for key in ("output.jsonl", "mnopqrstuvwx/input-0001.jsonl.out"):
        copy = f"{names.output_prefix(JOB_ID)}{key}"
        job.put(copy, body)
        (taken,) = job.run("bedrock_batch_result", s3_event(copy))["objects"]
        assert taken["outcome"] == "done"
        job.run("bedrock_job_events", {"jobId": JOB_ID})
        assert job.jobs.get(JOB_ID) == before
    assert len(job.items()) == PROCESSED


def test_a_schedule_finds_the_job_and_an_event_of_bedrock_names_it(job: Deployed) -> None:
    schedule = job.run("bedrock_job_events", {"source": "aws.events", "detail-type": "Scheduled Event"})
    event = {"source": "aws.bedrock", "detail": {"batchJobName": f"{JOB_ID}-0001", "status": "Completed"}}
    named = job.run("bedrock_job_events", event)

    for answer in (schedule, named):
        assert [(found["jobId"], found["status"]) for found in answer["jobs"]] == [(JOB_ID, "InProgress")]
    parts = job.jobs.parts(JOB_ID)
    assert [(part.status, part.bedrock_status) for part in parts] == [("ended", "Completed")]


def test_s3s_test_event_is_answered_with_nothing(job: Deployed) -> None:
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}

    assert job.run("bedrock_batch_result", event) == {"objects": []}


def test_ended_jobs_are_out_of_the_schedules_listing(job: Deployed) -> None:
    job.run("bedrock_batch_result", s3_event(output_file_key()))
    job.run("bedrock_job_events", {"jobId": JOB_ID})

    assert job.run("bedrock_job_events", {"detail-type": "Scheduled Event"}) == {"jobs": []}
