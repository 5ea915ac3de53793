"""The handlers of agents' rows, the aggregator and the notifier, one after the other, on moto."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest

from foundation import settings
from foundation.aws import clients, factories
from foundation.aws.s3 import S3ObjectStore
from row_batches.run import wiring
from tests.support.batches import EXECUTION, KEYS, make_plan, staged_items
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_answers_table, make_results_table, make_runs_table

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
ROWS = [["1", "one"], ["2", "two"], ["3", "three"]]


class Context:
    function_name = "batch-processor-test"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def run(name: str, event: dict[str, Any]) -> Any:
    """Call a handler as Lambda does: by its file, with an event that went through JSON."""
    spec = spec_from_file_location(f"{name}_handler", FUNCTIONS / name / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.handler(orjson.loads(orjson.dumps(event)), Context())


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3ObjectStore]:
    caches = [
        clients._session,
        clients._service_client,
        factories.objects,
        wiring.batches,
        wiring.dead_letters,
        factories.notifier,
        factories.metrics,
        wiring.runs,
        wiring.leases,
    ]
    for cache in caches:
        cache.cache_clear()
    settings._loaded.clear()
    with moto_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="results")
        client.put_bucket_versioning(Bucket="results", VersioningConfiguration={"Status": "Enabled"})
        boto3.client("sqs").create_queue(QueueName="dead-letters")
        topic = boto3.client("sns").create_topic(Name="notifications")["TopicArn"]
        for name, value in {
            "RESULTS_BUCKET": "results",
            "POWERTOOLS_SERVICE_NAME": "batch-processor",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "DEAD_LETTER_QUEUE": "dead-letters",
            "METRICS_NAMESPACE": "BatchProcessor",
            "NOTIFICATION_TOPIC_ARN": topic,
            "RUNS_TABLE": make_runs_table(boto3.client("dynamodb")),
            "RESULTS_TABLE": make_results_table(boto3.client("dynamodb")),
            "ANSWERS_TABLE": make_answers_table(boto3.client("dynamodb")),
        }.items():
            monkeypatch.setenv(name, value)
        yield S3ObjectStore(client, "results")
    for cache in caches:
        cache.cache_clear()
    settings._loaded.clear()


def agent_plan(store: S3ObjectStore) -> None:
    make_plan(
        ROWS,
        store=store,
        invocation="standard",
        output_mapping={"columns": [{"name": "label", "source": "$.label"}]},
        execution_config={"retry_policy": {"max_attempts": 2, "jitter": False}},
    )


def test_rows_of_an_agent_become_output_summary_dead_letter_and_message(
    store: S3ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_plan(store)
    reference = {"plan_key": KEYS.plan}
    inbox = boto3.client("sqs").create_queue(QueueName="inbox")["QueueUrl"]
    inbox_arn = "arn:aws:sqs:us-east-1:123456789012:inbox"
    topics = boto3.client("sns").list_topics()["Topics"]
    boto3.client("sns").subscribe(TopicArn=topics[0]["TopicArn"], Protocol="sqs", Endpoint=inbox_arn)

    # Row 1 succeeds, row 2 asks for another attempt and then fails, row 3 is never written.
    moment = datetime.now(UTC).isoformat()
    times = {"Began": moment, "Ended": moment}
    rows = run("map_input", {"BatchInput": reference, "Items": staged_items(ROWS), "Child": "child"})["rows"]
    for item, row, answer in zip(staged_items(ROWS)[:2], rows, ["Success", "Error"], strict=False):
        result = {"result": answer, "data": {"label": "good"}, "metadata": {"retryable": True}}
        end = {"BatchInput": reference, "Row": item, "Call": row["call"], **times}
        ended = run("map_output", {**end, "Result": result})
        if answer == "Success":
            assert ended == {"row": 1, "stop": False}
            continue
        assert ended["again"]["attempt"] == 2
        assert "again" not in run("map_output", {**end, "Call": ended["again"], "Result": result})
    missing = run("aggregate_results", {"action": "FIND_MISSING", "plan_key": KEYS.plan})
    assert missing["missing"] == 1
    response = run("aggregate_results", {"action": "AGGREGATE", "plan_key": KEYS.plan, "manifests": []})
    ended = {
        "execution_arn": "arn",
        "execution": EXECUTION,
        "plan_key": KEYS.plan,
        "status": "SUCCEEDED",
        "ended_ms": 1,
    }
    finishing = {"action": "AGGREGATE", "plan_key": KEYS.plan, "ended": ended}
    assert run("aggregate_results", finishing)["done"], "it was put together"
    run("notify", ended)

    output = list(csv.DictReader(io.StringIO(store.get(KEYS.output).decode())))
    assert [(row["id"], row["label"], row["_status"]) for row in output] == [
        ("1", "good", "SUCCESS"),
        ("2", "", "FAILED"),
        ("3", "", "FAILED"),
    ]
    assert response["document"]["status"] == "SUCCEEDED_WITH_FAILURES"
    assert orjson.loads(store.get(KEYS.summary))["failed"] == 2
    letters = boto3.client("sqs").receive_message(
        QueueUrl=boto3.client("sqs").get_queue_url(QueueName="dead-letters")["QueueUrl"], MaxNumberOfMessages=10
    )["Messages"]
    assert sorted(orjson.loads(letter["Body"])["row"] for letter in letters) == [2, 3]
    (message,) = boto3.client("sqs").receive_message(QueueUrl=inbox)["Messages"]
    envelope = orjson.loads(message["Body"])
    assert envelope["Subject"] == "echo: SUCCEEDED_WITH_FAILURES"
    assert envelope["MessageAttributes"]["rows_failed"] == {"Type": "Number", "Value": "2"}
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["RowsFailed"] for line in lines if "_aws" in line] == [2]
    (logged,) = [line for line in lines if line.get("message") == "row not successful"]
    assert (logged["row_id"], logged["status"], logged["service"]) == (2, "FAILED", "batch-processor")


def test_a_row_behind_the_brake_is_not_attempted(store: S3ObjectStore) -> None:
    agent_plan(store)
    store.put(KEYS.brake, b'{"reason": "stopped", "error": "StoppedError", "message": ""}')

    event = {"BatchInput": {"plan_key": KEYS.plan}, "Items": staged_items(ROWS)[:1], "Child": "child"}
    answer = run("map_input", event)

    assert (answer["rows"], answer["remaining"], answer["come_again_in_seconds"]) == ([], 0, 0)


def test_a_batch_whose_rows_are_all_written_calls_no_target(store: S3ObjectStore) -> None:
    make_plan(ROWS, store=store)
    store.put(KEYS.rows_object(1, 3), b"")

    response = run("process_tool_rows", {"BatchInput": {"plan_key": KEYS.plan}, "Items": staged_items(ROWS)})

    assert response == {
        "succeeded": 0,
        "failed": 0,
        "timed_out": 0,
        "not_attempted": 0,
        "remaining": 0,
        "come_again_in_seconds": 0,
    }
