"""Short ways to make the AWS resources that tests of the local AWS need."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from emulator.testing import LocalAws

Result = TypeVar("Result")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def archive(files: dict[str, str]) -> bytes:
    """A zip archive of text files, by path."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        for path, text in files.items():
            opened.writestr(path, text)
    return written.getvalue()


def allow(actions: str | list[str], resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def make_role(aws: LocalAws, *statements: dict[str, Any], trusted: dict[str, Any] | None = None) -> str:
    """A role with the statements, which Lambda, Step Functions, EventBridge and root may assume; its ARN."""
    name = unique("role")
    services = ["lambda.amazonaws.com", "states.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"]
    principal = trusted or {"Service": services, "AWS": f"arn:aws:iam::{aws.account_id}:root"}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
    }
    iam = aws.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    if statements:
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_role_policy(RoleName=name, PolicyName="granted", PolicyDocument=json.dumps(policy))
    return arn


def make_function(aws: LocalAws, code: str | dict[str, str], role: str | None = None, **options: Any) -> str:
    """A Python function whose module is `index`; its name."""
    name = unique("function")
    files = {"index.py": code} if isinstance(code, str) else code
    settings = {"Runtime": "python3.11", "Handler": "index.handler", "Timeout": 10, **options}
    aws.client("lambda").create_function(
        FunctionName=name, Role=role or make_role(aws), Code={"ZipFile": archive(files)}, **settings
    )
    return name


def invoke(aws: LocalAws, name: str, event: Any = None, **options: Any) -> Any:
    """The answer of a function, or its error object."""
    answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode(), **options)
    return json.loads(answer["Payload"].read())


class Gate:
    """Holds the calls of a function with its ``code`` until it is opened, so that a test need not guess how long."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.code = f"""
import os, pathlib, time
def handler(event, context):
    folder = pathlib.Path({str(folder)!r})
    (folder / f"{{os.getpid()}}.inside").touch()
    while not (folder / "open").exists():
        time.sleep(0.02)
    return os.getpid()
"""

    def inside(self) -> set[int]:
        """The processes that have come to the gate."""
        return {int(path.stem) for path in self._folder.glob("*.inside")}

    def open(self) -> None:
        (self._folder / "open").touch()


def eventually(look: Callable[[], Result], timeout_seconds: float = 60.0) -> Result:
    """The first truthy answer of `look`, or its last."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
