"""Creating batch jobs on moto: table, bucket, a lake in memory, a fake Bedrock, and a clock that tests move."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from bedrock_batches.api.admin import AdminServices, Answer
from bedrock_batches.api.records import RecordSources
from bedrock_batches.request.job_config import JobRequest, parse_job_request
from bedrock_batches.request.models import Models, model_table
from bedrock_batches.results.claims_dynamodb import DynamoDbClaims
from bedrock_batches.results.ports import Claim
from bedrock_batches.results.record_index import Answered
from bedrock_batches.submit import names
from bedrock_batches.submit.create_job import CreateServices, create_job
from bedrock_batches.submit.dynamodb import DynamoDbJobsTable
from bedrock_batches.submit.job import BEDROCK_FINAL, Part, PartStatus, new_job
from bedrock_batches.submit.job_items import item_of_job, item_of_part, job_of_item, part_of_item
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.submit.ports import BatchInferenceJob, ViolationsLake
from foundation.aws.dynamodb_items import from_item
from foundation.aws.leases import DynamoDbLeases
from foundation.aws.s3 import S3ObjectStore
from tests.support.lake import Record, memory_lake
from tests.support.moto_aws import moto_aws

TABLE = "VentureOS-BedrockBatchJobs"
BUCKET = "data"
REGION = "us-east-1"
MODEL = "amazon.nova-lite-v1:0"
AGENCIES = ("osha", "epa")


def violations(count: int, agency: str = "osha", first: int = 0) -> list[Record]:
    """Fines rise with the number, so the highest number has the highest priority."""
    return [
        {
            "violation_id": f"{agency.upper()}-{number:06}",
            "agency": agency,
            "company_name": f"Company {number}",
            "fine_amount": str(1_000 + number),
            "violation_type": "Serious",
            "raw_title": "Fall protection",
            "raw_description": "Nobody wore a harness.",
            "city": "Mobile",
            "event_date": "2020-01-01",
        }
        for number in range(first, first + count)
    ]


class Clock:
    """Stands still but for what is slept."""

    def __init__(self) -> None:
        self.ms = int(datetime(2026, 11, 21, 9, tzinfo=UTC).timestamp() * 1000)

    def now_ms(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    def pass_by(self, **time: float) -> None:
        self.ms += int(timedelta(**time).total_seconds() * 1000)


class WaitingClock(Clock):
    """Lets other threads go on, and no lease expire meanwhile."""

    def sleep(self, seconds: float) -> None:
        time.sleep(0.01)


@dataclass
class Deadline:
    seconds: float = 300.0

    def remaining_seconds(self) -> float:
        return self.seconds


class FakeBedrock:
    """Takes each token once. ``refusals`` are raised by the next submissions, one each (None: accepted)."""

    def __init__(self) -> None:
        self.jobs: dict[str, BatchInferenceJob] = {}
        self.submitted: list[Part] = []
        self.refusals: list[Exception | None] = []
        self.stopped: list[str] = []
        self.answer: Callable[[Mapping[str, Any]], dict[str, Any]] = answer_to
        self.conversed = 0

    def submit(self, part: Part, bucket: str) -> str:
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        arn = f"arn:aws:bedrock:{REGION}:000000000000:model-invocation-job/{part.job_name[-12:]}"
        if arn not in self.jobs:
            self.jobs[arn] = BatchInferenceJob(arn, "Submitted")
            self.submitted.append(part)
        return arn

    def get(self, job_arn: str) -> BatchInferenceJob:
        return self.jobs[job_arn]

    def stop(self, job_arn: str) -> None:
        self.stopped.append(job_arn)

    def running(self, model_id: str) -> int:
        return sum(job.status not in BEDROCK_FINAL for job in self.jobs.values())

    def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        self.conversed += 1
        return self.answer(model_input)


def answer_to(model_input: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps({"title": "A title", "description": "What happened.", "tags": ["a"]})
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
    }


@dataclass
class JobsWorld:
    """What outlives a call of the processor. ``called`` are the events that the API sent it, ``contents`` the
    violations with content in DynamoDB."""

    dynamodb: Any
    s3: Any
    lake: ViolationsLake
    clock: Clock = field(default_factory=Clock)
    bedrock: FakeBedrock = field(default_factory=FakeBedrock)
    quotas: Quotas = field(default_factory=Quotas)
    called: list[dict[str, Any]] = field(default_factory=list)
    reconciled: list[dict[str, Any]] = field(default_factory=list)
    again: list[dict[str, Any]] = field(default_factory=list)
    runs_at_once: bool = True
    contents: set[str] = field(default_factory=set)
    models: Models = field(default_factory=model_table)

    @property
    def jobs(self) -> DynamoDbJobsTable:
        return DynamoDbJobsTable(self.dynamodb, TABLE)

    @property
    def objects(self) -> S3ObjectStore:
        return S3ObjectStore(self.s3, BUCKET)

    def services(self, **changes: Any) -> CreateServices:
        services = CreateServices(
            lake=self.lake,
            jobs=self.jobs,
            objects=self.objects,
            batch=self.bedrock,
            on_demand=self.bedrock,
            leases=DynamoDbLeases(self.dynamodb, TABLE, self.clock),
            clock=self.clock,
            deadline=Deadline(),
            models=self.models,
            quotas=self.quotas,
            owner=uuid.uuid4().hex,
            contents=self,
            again=_Caller(self.again, lambda _: None),
        )
        return replace(services, **changes)

    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        return self.contents & set(violation_ids)

    def admin(self) -> AdminServices:
        return AdminServices(
            jobs=self.jobs,
            batch=self.bedrock,
            processor=_Caller(self.called, self._process),
            reconciler=_Caller(self.reconciled, lambda _: None),
            clock=self.clock,
            models=self.models,
            default_model=MODEL,
            agencies=AGENCIES,
            records=RecordSources(self.objects, self.claims, "VentureOS-Violations"),
        )

    @property
    def claims(self) -> DynamoDbClaims:
        return DynamoDbClaims(self.dynamodb, TABLE)

    def _process(self, event: dict[str, Any]) -> None:
        if self.runs_at_once:
            create_job(event["jobId"], self.services())

    def new_job(self, config: Mapping[str, Any], *, dry_run: bool = False, retry_of: str = "") -> str:
        """Writes the item, as the API does; its id."""
        parsed = parse_job_request(
            JobRequest, {"config": config}, models=model_table(), default_model=MODEL, agencies=AGENCIES
        ).config
        job_id = names.new_job_id(self.clock.now, dry_run=dry_run)
        job = new_job(job_id, self.clock.now, parsed.document(), dry_run=dry_run, retry_of=retry_of)
        return self.jobs.create(job)

    def create(self, config: Mapping[str, Any], *, dry_run: bool = False, retry_of: str = "") -> dict[str, Any]:
        """Create a job; its item as it is stored."""
        return self.item(create_job(self.new_job(config, dry_run=dry_run, retry_of=retry_of), self.services()).job_id)

    def item(self, job_id: str) -> dict[str, Any]:
        """The stored item of a job."""
        (item,) = self._items(job_id, names.METADATA)
        return item

    def part_items(self, job_id: str) -> list[dict[str, Any]]:
        """The stored items of a job's parts."""
        return self._items(job_id, names.PART_PREFIX)

    def _items(self, job_id: str, sort: str) -> list[dict[str, Any]]:
        answer = self.dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="PK = :pk AND begins_with(SK, :sk)",
            ExpressionAttributeValues={":pk": {"S": names.job_key(job_id)}, ":sk": {"S": sort}},
        )
        return [from_item(item) for item in answer["Items"]]

    def update(self, job_id: str, **attributes: Any) -> None:
        """Set attributes of a job's item."""
        job = self.jobs.get(job_id)
        assert job is not None
        assert self.jobs.change(job, job_of_item({**item_of_job(job), **attributes}))

    def update_part(self, job_id: str, number: int, **attributes: Any) -> None:
        """Set attributes of a part's item."""
        part = next(part for part in self.jobs.parts(job_id) if part.number == number)
        assert self.jobs.change_part(part, part_of_item({**item_of_part(part), **attributes}))

    def keys(self, prefix: str = "") -> list[str]:
        return [found.key for found in self.objects.list_objects(prefix)]

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.objects.get(key).splitlines()]

    def records(self, job_id: str) -> list[str]:
        """The violation ids of a job's records, part after part; their lines in the input count them."""
        parts = self.jobs.parts(job_id)
        lines = [line for part in parts for line in self.lines(names.input_key(job_id, part.number))]
        assert [line["recordId"] for line in lines] == [f"R{place:010}" for place in range(len(lines))]
        return [
            record.split("\t")[0]
            for part in parts
            for record in self.objects.get(names.records_key(job_id, part.number)).decode().splitlines()
        ]

    def end(self, job_id: str, failed: Iterable[str] = (), status: str = "Completed") -> None:
        """Ends a job as ``reconcile`` does: its submitted parts, its status, its failed records."""
        for part in self.jobs.parts(job_id):
            if part.status is PartStatus.SUBMITTED:
                self.update_part(job_id, part.number, status="ended", bedrockStatus="Completed")
            elif part.status is PartStatus.QUEUED:
                self.update_part(job_id, part.number, status="cancelled")
        lines = "".join(json.dumps({"recordId": violation_id}) + "\n" for violation_id in failed)
        if lines:
            self.objects.put(f"{names.errors_prefix(job_id)}0001-0001.jsonl", lines.encode())
        self.update(job_id, status=status, processedAt=names.timestamp(self.clock.now), outputsTaken=True)


@dataclass
class _Caller:
    calls: list[dict[str, Any]]
    run: Callable[[dict[str, Any]], None]

    def call(self, payload: dict[str, Any]) -> None:
        self.calls.append(payload)
        self.run(payload)


@contextmanager
def jobs_world(records: Iterable[Record]) -> Iterator[JobsWorld]:
    with moto_aws(REGION):
        dynamodb = boto3.client("dynamodb")
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        create_jobs_table(dynamodb)
        yield JobsWorld(dynamodb, s3, memory_lake(records, AGENCIES))


def create_jobs_table(dynamodb: Any) -> None:
    keys = ("PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK")
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=_key("PK", "SK"),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        GlobalSecondaryIndexes=[
            {"IndexName": index, "KeySchema": _key(partition, "GSI1SK"), "Projection": {"ProjectionType": "ALL"}}
            for index, partition in ((names.JOBS_BY_CREATED, "GSI1PK"), (names.JOBS_BY_STATUS, "GSI2PK"))
        ],
    )


def _key(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


def body_of(answer: Answer) -> tuple[int, dict[str, Any]]:
    return answer.status_code, answer.body


def answer_part(world: JobsWorld, job_id: str, answered: Iterable[int], succeeded: Iterable[int]) -> None:
    """An output object of part 1 that answers the records at these places."""

    def bits(numbers: Iterable[int]) -> bytes:
        seen = Answered()
        for number in numbers:
            seen.add(number)
        return bytes(seen)

    key = f"{names.output_prefix(job_id)}abcdefghijkl/input-0001.jsonl.out"
    claim = Claim(
        job_id, key, "e", 1, world.clock.now, 1, answered=bits(answered), succeeded=bits(succeeded), done=True
    )
    assert world.claims.take(claim, "call", 0, 0) is not None
