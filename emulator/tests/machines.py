"""State machines that contract tests create, run and look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from emulator.testing import LocalAws
from emulator.tests.resources import allow, eventually, make_role, unique

State = dict[str, Any]

VERSION = {"Version": "2012-10-17"}

_clients: dict[tuple[str, str], Any] = {}


def client(aws: LocalAws, service: str) -> Any:
    """A root client, made once: making one takes longer than most tests."""
    key = (aws.endpoint_url, service)
    if key not in _clients:
        _clients[key] = aws.client(service)
    return _clients[key]


def jsonata(states: dict[str, State], **fields: Any) -> dict[str, Any]:
    """A JSONata definition that starts at the first state."""
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **fields}


def distributed(states: dict[str, State] | None = None, kind: str = "STANDARD", **fields: Any) -> State:
    """A DISTRIBUTED map that ends; its children pass their input on unless states are given."""
    inner = states or {"Keep": {"Type": "Pass", "End": True}}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": next(iter(inner))}
    return {"Type": "Map", "ItemProcessor": {**processor, "States": inner}, "End": True, **fields}


def csv_reader(key: str, config: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """An ItemReader of a CSV object of `$states.input.bucket`."""
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", **(config or {})},
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": key, **arguments},
    }


def writer(**config: Any) -> dict[str, Any]:
    """A ResultWriter below `results` in `$states.input.bucket`."""
    return {
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Prefix": "results"},
        **({"WriterConfig": config} if config else {}),
    }


@dataclass
class Run:
    """One execution."""

    aws: LocalAws
    arn: str

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = client(self.aws, "stepfunctions").describe_execution(executionArn=self.arn)
        return described

    def ended(self, timeout_seconds: float = 60.0) -> dict[str, Any]:
        """The description of the ended execution, its output parsed."""
        found = eventually(lambda: (shown := self.describe())["status"] != "RUNNING" and shown, timeout_seconds)
        assert found, f"still running: {self.events()}"
        if "output" in found:
            found["output"] = json.loads(found["output"])
        return found

    def output(self) -> Any:
        ended = self.ended()
        assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
        return ended["output"]

    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = client(self.aws, "stepfunctions").get_execution_history(
            executionArn=self.arn, maxResults=1000
        )["events"]
        return events

    def event_types(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def stop(self, **reason: str) -> None:
        client(self.aws, "stepfunctions").stop_execution(executionArn=self.arn, **reason)

    def map_run(self) -> dict[str, Any]:
        """The description of its only map run, once there is one."""
        states = client(self.aws, "stepfunctions")
        runs = eventually(lambda: states.list_map_runs(executionArn=self.arn)["mapRuns"])
        described: dict[str, Any] = states.describe_map_run(mapRunArn=runs[0]["mapRunArn"])
        return described

    def children(self, **filters: str) -> list[dict[str, Any]]:
        states = client(self.aws, "stepfunctions")
        listed: list[dict[str, Any]] = states.list_executions(mapRunArn=self.map_run()["mapRunArn"], **filters)[
            "executions"
        ]
        return listed


class Machines:
    """Creates machines with a role that may do everything, or what is given, and starts them."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.client = client(aws, "stepfunctions")
        self._role = make_role(aws, allow("*"))

    def create(self, definition: dict[str, Any], *statements: dict[str, Any], kind: str = "STANDARD") -> str:
        arn: str = self.client.create_state_machine(
            name=unique("machine"),
            definition=json.dumps(definition),
            roleArn=self._limited_role(statements) if statements else self._role,
            type=kind,
        )["stateMachineArn"]
        return arn

    def _limited_role(self, statements: tuple[dict[str, Any], ...]) -> str:
        iam, name = client(self.aws, "iam"), unique("role")
        principal = {"Service": "states.amazonaws.com"}
        trust = {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]}
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({**VERSION, **trust}))["Role"][
            "Arn"
        ]
        policy = json.dumps({**VERSION, "Statement": list(statements)})
        iam.put_role_policy(RoleName=name, PolicyName="granted", PolicyDocument=policy)
        return arn

    def start(self, machine: str, data: Any = None, **options: str) -> Run:
        started = self.client.start_execution(
            stateMachineArn=machine, input=json.dumps({} if data is None else data), **options
        )
        return Run(self.aws, started["executionArn"])

    def run(self, definition: dict[str, Any], data: Any = None, *statements: dict[str, Any]) -> Run:
        """Start a new machine with the definition; statements are all its role may do."""
        return self.start(self.create(definition, *statements), data)


class Bucket:
    """A bucket of one test."""

    def __init__(self, aws: LocalAws) -> None:
        self.name = unique("bucket")
        self._s3 = client(aws, "s3")
        self._s3.create_bucket(Bucket=self.name)

    def put(self, key: str, text: str | bytes) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=text.encode() if isinstance(text, str) else text)

    def text(self, key: str) -> str:
        body: bytes = self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body.decode()

    def json(self, key: str) -> Any:
        return json.loads(self.text(key))
