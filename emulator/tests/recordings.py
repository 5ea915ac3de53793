"""Replays recordings of real AWS against the local AWS."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import allow, archive, eventually, make_role

REPLAYED_APIS = (
    None,
    "StartExecution",
    "StartSyncExecution",
    "CreateStateMachine",
    "StartExecution, last CloudWatch log event",
    "StartExecution, then DescribeExecution",
    "StartExecution, then ListMapRuns and DescribeMapRun",
)
COMPARED_DETAILS = {
    **{
        f"{kind}StateExited": ("name", "assignedVariables")
        for kind in ("Choice", "Map", "Parallel", "Pass", "Task", "Wait")
    },
    "EvaluationFailed": ("error", "location", "state"),
}
"""Details of events that are compared, by the event's type."""
BEFORE_REDRIVE = "2023-11-15"
BEHAVIOURS = {
    "raises Exception('Some exception was raised.')": (
        'def handler(event, context):\n    raise Exception("Some exception was raised.")\n'
    ),
    "raises CustomException()": (
        "class CustomException(Exception):\n    pass\n\n\n\n\n\n"
        "def handler(event, context):\n    raise CustomException()\n"
    ),
    "returns its event unchanged.": "def handler(event, context):\n    return event\n",
    "returns 257 * 1024 letters a": "def handler(event, context):\n    return 'a' * (257 * 1024)\n",
    'returns the bytes "HelloWorld!"': "def handler(event, context):\n    return 'HelloWorld!'\n",
    'returns {"Return": "HelloWorld"}': "def handler(event, context):\n    return {'Return': 'HelloWorld'}\n",
    "sleeps 60 seconds": "import time\n\n\ndef handler(event, context):\n    time.sleep(8)\n    return event\n",
}
FUNCTION_PLACEHOLDERS = (
    "<lambda_function_name>",
    "<lambda-function-name>",
    "<lambda_function_1_name>",
    "<lambda_function_2_name>",
    "lambda_function_name",
)


@dataclass(frozen=True)
class Recording:
    """One recorded case; `id` is its file and name."""

    id: str
    case: dict[str, Any]


def load(folder: Path) -> list[Recording]:
    """The cases that can be replayed: all but those of the TestState API, which nothing here uses."""
    found: dict[str, Recording] = {}
    for path in sorted(folder.glob("*.json")):
        for case in json.loads(path.read_text()):
            if case.get("api") not in REPLAYED_APIS:
                continue
            name = f"{path.stem}/{case['name']}"
            while name in found:
                name += "'"
            kind = "EXPRESS" if path.stem.startswith("express") else "STANDARD"
            found[name] = Recording(name, {"type": kind, **case})
    return list(found.values())


class Replayer:
    """Holds what the cases share: a role, functions by behaviour, a table."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._states = aws.client("stepfunctions")
        self._s3 = aws.client("s3")
        self._role = make_role(aws, allow("*"))
        self._functions = {wording: self._make_function(code) for wording, code in BEHAVIOURS.items()}
        self._queue = aws.client("sqs").create_queue(QueueName="recorded")["QueueUrl"]
        aws.client("dynamodb").create_table(
            TableName="recorded",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def differences(self, recording: Recording) -> list[str]:
        """What the local AWS does otherwise; empty where it does as AWS did."""
        case = self._prepared(recording.case)
        if case.get("api") == "CreateStateMachine":
            return self._refused_at_create(case)
        targets = {target["arn"]: self._create(target) for target in case.get("target_state_machines", [])}
        case = json.loads(_replaced(json.dumps(case), targets))
        machine = self._create(case)
        if "steps" in case:
            return self._steps(machine, case["steps"])
        runs = case.get("runs") or [case]
        return [difference for run in runs for difference in self._run(machine, case, run)]

    def _make_function(self, code: str) -> str:
        name = f"recorded-{uuid.uuid4().hex[:8]}"
        self._aws.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=self._role,
            Handler="handler.handler",
            Timeout=30,
            Code={"ZipFile": archive({"handler.py": code})},
        )
        return name

    def _prepared(self, case: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(case)
        values = {
            "<partition>": "aws",
            "<region>": self._aws.region,
            "111111111111": self._aws.account_id,
            '"X-Amzn-Trace-Id": "X-Amzn-Trace-Id"': '"X-Amzn-Trace-Id": "<trace>"',
            "<sqs_queue_url>": self._queue,
            "<test-table>": "recorded",
            "<snf_role_arn>": self._role,
            "<sfn_role_arn>": self._role,
        }
        for wording, name in self._functions.items():
            if wording in case.get("lambda", ""):
                values |= dict.fromkeys(FUNCTION_PLACEHOLDERS, name)
        if "s3_bucket" in case or "bucket-name" in text:
            bucket = f"recorded-{uuid.uuid4().hex[:12]}"
            self._s3.create_bucket(Bucket=bucket)
            for key, body in case.get("s3_objects", {}).items():
                self._s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
            values[case.get("s3_bucket", "bucket-name")] = bucket
        return dict(json.loads(_replaced(text, values)))

    def _create(self, case: dict[str, Any]) -> str:
        created = self._states.create_state_machine(
            name=f"recorded-{uuid.uuid4().hex[:12]}",
            definition=json.dumps(case["definition"]),
            roleArn=self._role,
            type=case.get("type", "STANDARD"),
        )
        return str(created["stateMachineArn"])

    def _refused_at_create(self, case: dict[str, Any]) -> list[str]:
        try:
            self._create(case)
        except ClientError as error:
            return _compare(
                "error", case["expected"].get("error", "InvalidDefinition"), error.response["Error"]["Code"]
            )
        return ["the definition was accepted"]

    def _steps(self, machine: str, steps: list[dict[str, Any]]) -> list[str]:
        found = []
        for step in steps:
            expected = step["expected"]
            try:
                self._states.start_execution(
                    stateMachineArn=machine,
                    name=step["name"].strip("<>").replace(":", "-"),
                    input=json.dumps(step["input"]),
                )
                found += _compare("error", expected.get("error"), None)
            except ClientError as error:
                found += _compare("error", expected.get("error"), error.response["Error"]["Code"])
                found += _compare(
                    "message",
                    expected.get("message", "").split("'")[0],
                    error.response["Error"]["Message"].split("'")[0],
                )
        return found

    def _run(self, machine: str, case: dict[str, Any], run: dict[str, Any]) -> list[str]:
        expected, text = run["expected"], json.dumps(run.get("input", {}))
        if case.get("api") == "StartSyncExecution":
            answer = self._states.start_sync_execution(stateMachineArn=machine, input=text)
            keys = sorted(set(answer) - {"ResponseMetadata"})
            return _compare("response_keys", expected.get("response_keys", keys), keys) + _compare_end(
                expected, answer, case
            )
        arn = self._states.start_execution(stateMachineArn=machine, input=text)["executionArn"]

        def ended() -> dict[str, Any] | None:
            described = self._states.describe_execution(executionArn=arn)
            return None if described["status"] == "RUNNING" else described

        described = eventually(ended, timeout_seconds=40)
        if described is None:
            self._states.stop_execution(executionArn=arn)
            return ["the execution did not end"]
        found = _compare_end(expected, described, case)
        if "describe_execution_keys" in expected:
            keys = sorted(set(described) - {"ResponseMetadata"})
            found += _compare("describe_execution_keys", expected["describe_execution_keys"], keys)
        if "describe_execution" in expected:
            shown = {key: value for key, value in _as_json(described).items() if key != "ResponseMetadata"}
            shown |= {key: json.loads(shown[key]) for key in ("input", "output")}
            found += _compare("describe_execution", expected["describe_execution"], shown)
        if "list_map_runs" in expected:
            runs = self._states.list_map_runs(executionArn=arn)["mapRuns"]
            found += _compare("list_map_runs", expected["list_map_runs"]["mapRuns"], _as_json(runs))
            shown = _as_json(self._states.describe_map_run(mapRunArn=runs[0]["mapRunArn"]))
            redrive = {"failuresNotRedrivable", "pendingRedrive", "redriveCount", "ResponseMetadata"}
            found += _compare("describe_map_run", expected["describe_map_run"], _without(shown, redrive))
        return found + self._compare_events(expected, arn)

    def _compare_events(self, expected: dict[str, Any], arn: str) -> list[str]:
        if "event_types" not in expected:
            return []
        events = self._states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        types, recorded = [event["type"] for event in events], list(expected["event_types"])
        may_vary = expected.get("event_order") == "may_vary"
        if may_vary:
            types, recorded = sorted(types), sorted(recorded)
        found = _compare("event_types", recorded, types)
        for kind, fields in COMPARED_DETAILS.items():
            wanted = [_only(event, fields) for event in expected.get("events", []) if event["type"] == kind]
            details = [_details(event) for event in events if event["type"] == kind]
            shown = [_only(detail, fields) for detail in details if set(fields) & set(detail) - {"name", "state"}]
            if may_vary:
                wanted, shown = sorted(wanted, key=json.dumps), sorted(shown, key=json.dumps)
            # A recording leaves out some fields of an event.
            named = (tuple(want or ()) for _, want in zip_longest(shown, wanted))
            shown = [_only(detail, names) for detail, names in zip(shown, named, strict=False)]
            found += _compare(kind, wanted, shown) if "events" in expected else []
        return found


def _details(event: dict[str, Any]) -> dict[str, Any]:
    """The details of an event, with variables as JSON."""
    details: dict[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    variables = {name: json.loads(text) for name, text in details.get("assignedVariables", {}).items()}
    return {**details, **({"assignedVariables": variables} if variables else {})}


def _only(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _compare_end(expected: dict[str, Any], described: dict[str, Any], case: dict[str, Any]) -> list[str]:
    found = _compare("status", expected["status"], described["status"])
    redrive = {"RedriveCount", "RedriveStatus", "RedriveStatusReason"} if case["recorded"] < BEFORE_REDRIVE else set()
    if "output" in expected:
        found += _compare("output", expected["output"], _without(json.loads(described.get("output", "null")), redrive))
    for field in ("error", "cause"):
        if field in expected and expected[field] is not None:
            found += _compare(field, expected[field], described.get(field))
    if "cause_json" in expected:
        try:
            cause = _without(json.loads(described.get("cause", "null")), redrive)
        except ValueError:
            return [*found, f"cause is no JSON: {described.get('cause')}"]
        found += _compare("cause", expected["cause_json"], cause)
    return found


def _compare(what: str, expected: Any, actual: Any) -> list[str]:
    return [] if agrees(expected, actual) else [f"{what}: AWS {_shown(expected)}, here {_shown(actual)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 1500 else f"{text[:1500]}…"


def agrees(expected: Any, actual: Any) -> bool:
    """Equal but for masked values; the place of function code and Python's position marks do not count."""
    if isinstance(expected, str) and "<" in expected:
        pattern = "".join(
            ".*" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[\w:, -]+>)", _located(expected))
        )
        return (
            re.fullmatch(pattern, _located(actual if isinstance(actual, str) else json.dumps(actual)), re.DOTALL)
            is not None
        )
    if isinstance(expected, dict) and isinstance(actual, dict):
        optional = {key for key, value in expected.items() if value == "<unverified>"}
        return set(expected) - optional <= set(actual) <= set(expected) and all(
            agrees(expected[key], value) for key, value in actual.items() if key not in optional
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(agrees, expected, actual))
    if isinstance(expected, str) and isinstance(actual, str):
        return _located(expected) == _located(actual)
    return bool(expected == actual)


def _located(text: str) -> str:
    text = re.sub(r"File (\\*)\"[^\"]*/handler\.py", r'File \1"/var/task/handler.py', text)
    return re.sub(r"(\n|\\+n) +\^+(?=\n|\\+n)", "", text)


def _replaced(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    return value
