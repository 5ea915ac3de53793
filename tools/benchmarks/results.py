"""Writing results to DynamoDB: speed compared with a sequential PutItem loop, memory by the number of records.

Both sides read the same object from the same local AWS, find the content of each line and write the same items. Each
measurement runs in a process of its own, as a function call does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bedrock_batches.submit.job import SCHEMA_VERSION, new_job
from bedrock_batches.submit.job_items import item_of_job
from bedrock_batches.submit.names import record_id
from foundation.aws.dynamodb_items import to_item
from tests.support.local_aws import LocalAws

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDS = 5_000
ROUNDS = 5
FEW, MANY = 20_000, 100_000
SPEED_AIM = 5.0
MEMORY_AIM = 1.1
LINE_BYTES = 3_000
BUCKET = "results-benchmark"
JOBS_TABLE = "VentureOS-BedrockBatchJobs"
VIOLATIONS_TABLE = "VentureOS-Violations"


def run() -> list[dict[str, Any]]:
    """Records a second, and the greatest resident memory in MB."""
    with LocalAws() as aws:
        prepare(aws)
        ours, peer = speeds(aws)
        few, many = (measure(aws, "ours", upload(aws, count)) for count in (FEW, MANY))
    ratios = [one / other for one, other in zip(ours, peer, strict=True)]
    memory = many["megabytes"] / few["megabytes"]
    return [
        {
            "name": "taking_results",
            "ours": median(ours),
            "peer": median(peer),
            "ratio": median(ratios),
            "aim": SPEED_AIM,
            "met": median(ratios) >= SPEED_AIM,
            "unit": f"records/s of {RECORDS:,}; peer: one PutItem after the other",
            "spread": (max(ratios) - min(ratios)) / median(ratios),
        },
        {
            "name": "taking_results_memory",
            "ours": many["megabytes"],
            "peer": few["megabytes"],
            "ratio": memory,
            "aim": MEMORY_AIM,
            "met": memory <= MEMORY_AIM,
            "unit": f"MB at {MANY:,} records ({MANY * LINE_BYTES / 1e6:,.0f} MB); peer: the same at {FEW:,}",
            "spread": None,
        },
        {
            "name": "taking_many_results",
            "ours": many["records_per_second"],
            "peer": few["records_per_second"],
            "ratio": many["records_per_second"] / few["records_per_second"],
            "aim": None,
            "met": None,
            "unit": f"records/s of {MANY:,}; peer: the same of {FEW:,}",
            "spread": None,
        },
    ]


def speeds(aws: LocalAws) -> tuple[list[float], list[float]]:
    """Rounds of both, in turn."""
    ours: list[float] = []
    peer: list[float] = []
    for _ in range(ROUNDS):
        for side, measured in (("ours", ours), ("peer", peer)):
            measured.append(measure(aws, side, upload(aws, RECORDS))["records_per_second"])
    return ours, peer


def prepare(aws: LocalAws) -> None:
    """The bucket and the two tables, with keys as in production."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
    keys = [("PK", "HASH"), ("SK", "RANGE")]
    for table in (JOBS_TABLE, VIOLATIONS_TABLE):
        aws.client("dynamodb").create_table(
            TableName=table,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )


def upload(aws: LocalAws, count: int) -> str:
    """A job with so many answered records, in one output object; its id."""
    job_id = f"batch-1764000000-{uuid.uuid4().hex[:8]}"
    job = replace(
        new_job(job_id, datetime.now(UTC), {}), model_id="m", prompt_version="1", schema_version=SCHEMA_VERSION
    )
    aws.client("dynamodb").put_item(TableName=JOBS_TABLE, Item=to_item(item_of_job(job)))
    s3 = aws.client("s3")
    records = "".join(f"{job_id[-8:]}-{number:06}\tosha\n" for number in range(count)).encode()
    s3.put_object(Bucket=BUCKET, Key=f"bedrock-batches/input/{job_id}/records-0001.txt", Body=records)
    with tempfile.TemporaryFile() as file:
        file.writelines(line(record_id(place)) for place in range(count))
        file.seek(0)
        s3.put_object(Bucket=BUCKET, Key=output_key(job_id), Body=file)
    return job_id


def output_key(job_id: str) -> str:
    return f"bedrock-batches/output/{job_id}/abcdefghijkl/input-0001.jsonl.out"


def line(record_id: str) -> bytes:
    """A line of about ``LINE_BYTES`` with an answer in a fence."""
    content = {"title": f"Title of {record_id}", "description": "What was found. " * 40, "tags": ["a", "b", "c"]}
    text = f"Here it is:\n```json\n{json.dumps(content)}\n```"
    output = {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 500, "outputTokens": 200, "totalTokens": 700},
    }
    record = {"recordId": record_id, "modelInput": {"prompt": ""}, "modelOutput": output}
    record["modelInput"] = {"prompt": "x" * (LINE_BYTES - len(json.dumps(record)) - 1)}
    return json.dumps(record).encode() + b"\n"


def measure(aws: LocalAws, side: str, job_id: str) -> dict[str, float]:
    """Run one side in a process of its own."""
    program = f"from tools.benchmarks.results import {side}; {side}({job_id!r})"
    paths = [str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **aws.environment(), "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


class Context:
    """A Lambda context for a call without a time limit."""

    function_name = "benchmark"
    aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        return 3_600_000


@contextmanager
def measured(count_of: dict[str, int]) -> Iterator[None]:
    """Print records a second of the block, and the process's greatest resident memory."""
    import resource  # noqa: PLC0415 (not on every system that imports this module)
    import time  # noqa: PLC0415

    begun = time.perf_counter()
    yield
    seconds = time.perf_counter() - begun
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"records_per_second": count_of["records"] / seconds, "megabytes": megabytes}))


def ours(job_id: str) -> None:
    """Take the results as the function does."""
    # Each side imports what it needs, as its own function would.
    from bedrock_batches.results.take_results import take_objects  # noqa: PLC0415
    from bedrock_batches.settings import BedrockBatchResultSettings  # noqa: PLC0415
    from bedrock_batches.wiring_results import result_services  # noqa: PLC0415

    class Nobody:
        def call(self, payload: dict[str, Any]) -> None:
            pass

    settings = BedrockBatchResultSettings(
        powertools_service_name="benchmark",
        powertools_log_level="ERROR",
        violations_table=VIOLATIONS_TABLE,
        batch_jobs_table=JOBS_TABLE,
        data_bucket=BUCKET,
        job_events_function="none",
    )
    services = replace(result_services(settings, Context()), reconciler=Nobody())
    count = {"records": 0}
    with measured(count):
        (taken,) = take_objects([output_key(job_id)], services)
        count["records"] = taken.counts.processed
    assert taken.counts.errors == 0, taken


def peer(job_id: str) -> None:
    """The plain way: read the lines, one PutItem after the other."""
    import boto3  # noqa: PLC0415

    table = boto3.resource("dynamodb").Table(VIOLATIONS_TABLE)
    count = {"records": 0}
    with measured(count):
        body = boto3.client("s3").get_object(Bucket=BUCKET, Key=output_key(job_id))["Body"]
        for text in body.iter_lines():
            record = json.loads(text)
            answer = record["modelOutput"]["output"]["message"]["content"][0]["text"]
            content = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
            item = {
                "PK": f"VIOLATION#{record['recordId']}",
                "SK": "BEDROCK_CONTENT",
                "title_bedrock": content["title"],
                "description_bedrock": content["description"],
                "tags": content["tags"],
                "generated_at": "2026-01-01T00:00:00.000Z",
                "attribution": "Generated by AWS Bedrock (Batch)",
                "agency": "osha",
                "job_id": job_id,
                "model_id": "m",
                "prompt_version": "1",
                "input_tokens": 500,
                "output_tokens": 200,
            }
            table.put_item(Item=item)
            count["records"] += 1
