"""A deployed environment, as a test uses it: start batches, read what they leave.

By default the environment is ``local`` on a local AWS of the test session's own. With ``BATCH_PROCESSOR_ENV=stage`` the
same tests run on a real account, on what ``make apply ENV=stage`` deployed there.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from tests.support.local_aws import REPOSITORY, LocalAws

METADATA = ["_execution_id", "_row_id", "_status", "_error_message", "_execution_time_ms", "_timestamp"]
csv.field_size_limit(16 * 1024 * 1024)  # a mapped column may hold a whole answer
FULL_SIZE = os.environ.get("SCALE", "small") == "full"


def scaled(full: int, small: int) -> int:
    """The full size in ``make test-full``, a smaller one in ``make test``."""
    return full if FULL_SIZE else small


def csv_bytes(rows: list[list[str]], line_end: str = "\n", delimiter: str = ",") -> bytes:
    """RFC 4180 text of the rows, header first."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=line_end, delimiter=delimiter).writerows(rows)
    return buffer.getvalue().encode()


@dataclass(frozen=True)
class Run:
    """One finished execution."""

    deployment: Deployment
    arn: str
    description: dict[str, Any]
    key: str

    @property
    def name(self) -> str:
        return self.arn.rsplit(":", 1)[1]

    @property
    def status(self) -> str:
        return str(self.description["status"])

    @property
    def error(self) -> str:
        return str(self.description.get("error", ""))

    @property
    def cause(self) -> str:
        return str(self.description.get("cause", ""))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The output document, also of a run that ended in RowFailedError."""
        return dict(json.loads(self.description.get("output") or self.cause))

    def result(self, name: str) -> bytes:
        return self.deployment.read(self.deployment.outputs["results_bucket"], f"results/{self.name}/{name}")

    @cached_property
    def output(self) -> bytes:
        return self.result("output.csv")

    @cached_property
    def table(self) -> list[list[str]]:
        """Header and rows of the output, read by the standard library as RFC 4180."""
        return list(csv.reader(io.StringIO(self.output.decode(), newline=""), strict=True))

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        header, *rows = self.table
        return [dict(zip(header, row, strict=True)) for row in rows]

    @cached_property
    def failed_rows(self) -> bytes:
        return self.result("failed_rows.csv")

    @cached_property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads(self.result("summary.json")))

    def dead_letters(self) -> list[dict[str, Any]]:
        return self.deployment.dead_letters(self.name)

    def assert_succeeded(self) -> Run:
        assert self.status == "SUCCEEDED", f"{self.status} {self.error}: {self.cause}"
        return self


@dataclass(frozen=True)
class Waits:
    """Seconds that a test waits at most, and between two looks; IAM's until a change of a policy is in force."""

    job: float
    content: float
    iam: float
    poll: float


LOCAL_WAITS = Waits(job=180, content=300, iam=1.5, poll=0.2)
"""The local AWS keeps an authorisation for a second."""
ACCOUNT_WAITS = Waits(job=24 * 3600, content=1_200, iam=20, poll=5)
"""Bedrock gives a job a day. Content is gathered for sync_window_seconds, five minutes, before it is merged. IAM is
eventually consistent (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html)."""


@dataclass
class Deployment:
    """Terraform's outputs and clients for them."""

    outputs: dict[str, Any]
    environment: str
    local_aws: LocalAws | None = None
    variables: dict[str, str] = field(default_factory=dict)
    _letters: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: str, variables: dict[str, str], local_aws: LocalAws | None = None) -> Deployment:
        return cls(terraform_outputs(environment, variables), environment, local_aws, variables)

    @property
    def waits(self) -> Waits:
        return ACCOUNT_WAITS if self.local_aws is None else LOCAL_WAITS

    def client(self, service: str) -> Any:
        if self.local_aws is not None:
            return self.local_aws.client(service)
        session: Any = boto3  # any service's client: its name is not known here
        return session.client(service, region_name=self.outputs["region"], config=Config(retries={"mode": "standard"}))

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def states(self) -> Any:
        return self.client("stepfunctions")

    @property
    def machine(self) -> str:
        return str(self.outputs["batch_processor_state_machine_arn"])

    @property
    def suffix(self) -> str:
        return "" if self.environment == "prod" else f"-{self.environment}"

    def function(self, name: str) -> str:
        return f"batch-processor-{name.replace('_', '-')}{self.suffix}"

    def read(self, bucket: str, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.outputs["results_bucket"], Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def upload(self, body: bytes, key: str = "") -> str:
        """Put a CSV into the input bucket; its S3 URI."""
        key = key or f"tests/{uuid.uuid4()}.csv"
        self.s3.put_object(Bucket=self.outputs["input_bucket"], Key=key, Body=body)
        return f"s3://{self.outputs['input_bucket']}/{key}"

    def start(self, document: Any, name: str = "") -> str:
        response = self.states.start_execution(
            stateMachineArn=self.machine, name=name or f"test-{uuid.uuid4()}", input=json.dumps(document)
        )
        return str(response["executionArn"])

    def wait(self, arn: str, timeout_seconds: float = 300) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_seconds
        while True:
            description = self.states.describe_execution(executionArn=arn)
            if description["status"] != "RUNNING":
                return dict(description)
            assert time.monotonic() < deadline, f"{arn} still runs after {timeout_seconds} s"
            time.sleep(self.waits.poll)

    def run(self, document: dict[str, Any], body: bytes | None = None, name: str = "", timeout: float = 300) -> Run:
        """Upload ``body`` as the input when given, run the batch and wait for its end."""
        if body is not None:
            document = {"csv_s3_uri": self.upload(body), **document}
        arn = self.start(document, name)
        return Run(self, arn, self.wait(arn, timeout), str(document.get("csv_s3_uri", "")))

    def agent_executions(self, batch_name: str) -> list[str]:
        """Names of the executions of ``chaos_agent`` that belong to the batch."""
        return [execution["name"] for execution in self.listed_agents(batch_name)]

    def listed_agents(self, batch_name: str) -> list[dict[str, Any]]:
        """The executions of ``chaos_agent`` that belong to the batch, as Step Functions lists them."""
        registry = self.client("dynamodb")
        entry = registry.get_item(TableName=self.outputs["registry_table"], Key={"name": {"S": "chaos_agent"}})
        pages = self.states.get_paginator("list_executions").paginate(stateMachineArn=entry["Item"]["arn"]["S"])
        executions = [execution for page in pages for execution in page["executions"]]
        return [execution for execution in executions if execution["name"].startswith(batch_name)]

    def dead_letters(self, execution: str) -> list[dict[str, Any]]:
        """The execution's messages in the dead-letter queue, by row."""
        sqs = self.client("sqs")
        url = self.outputs["dead_letter_queue_url"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages"):
            for message in messages:
                letter = json.loads(message["Body"])
                self._letters.setdefault(letter["execution_id"], []).append(letter)
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(self._letters.get(execution, []), key=lambda letter: letter["row"])


def terraform(command: list[str], variables: dict[str, str]) -> str:
    """Run ``python -m tools.terraform …``, as make does; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.terraform", *command],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"terraform {command} failed:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def terraform_outputs(environment: str, variables: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(terraform(["output", "--env", environment], variables)))


def local_variables(local_aws: LocalAws) -> dict[str, str]:
    """The environment of commands that work on this local AWS and leave the repository's own state alone."""
    return {
        **local_aws.environment(),
        "LOCAL_AWS_PORT": local_aws.endpoint_url.rsplit(":", 1)[1],
        "LOCAL_AWS_DIR": str(local_aws.state_dir),
    }
