"""Execution environments: one for each concurrent call, reused, bounded, and gone with the server.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.aws_resources import allow, archive, eventually, invoke, make_function, make_role
from tests.support.local_aws import LocalAws

SLEEPING = """
import os, time
def handler(event, context):
    time.sleep(event)
    return os.getpid()
"""


@pytest.fixture
def short_lived() -> Iterator[LocalAws]:
    """A server whose idle workers end after two seconds."""
    with LocalAws({"LAMBDA_WARM_TTL_SECONDS": "2"}) as aws:
        yield aws


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"\nPPid:\t{pid}\n" in status.read_text():
                found.append(int(status.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def call(aws: LocalAws, name: str, seconds: float) -> int:
    """The process that served the call; 0 when the server went away meanwhile."""
    try:
        return int(aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(seconds))["Payload"].read())
    except (BotoCoreError, ClientError, OSError):
        return 0


def test_concurrent_calls_have_a_worker_each_which_is_reused_and_then_ends(short_lived: LocalAws) -> None:
    name = make_function(short_lived, SLEEPING, Timeout=60)
    client = short_lived.client("lambda")

    def worker(seconds: float) -> int:
        return int(client.invoke(FunctionName=name, Payload=json.dumps(seconds))["Payload"].read())

    with ThreadPoolExecutor(10) as callers:
        busy = set(callers.map(worker, [2.5] * 10))
    assert len(busy) == 10
    assert worker(0) in busy
    assert eventually(lambda: not any(map(running, busy)), 10)
    assert eventually(lambda: not list((short_lived.state_dir / "tmp").glob("worker-*")), 5)


def test_a_call_in_flight_finishes_on_the_code_it_started_with(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html"""
    name = make_function(local_aws, SLEEPING)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(call, local_aws, name, 1.0)
        time.sleep(0.4)
        new = archive({"index.py": "def handler(event, context): return -1"})
        local_aws.client("lambda").update_function_code(FunctionName=name, ZipFile=new)
        assert call(local_aws, name, 0) == -1
        old_worker = answer.result()
    assert old_worker > 0
    assert eventually(lambda: not running(old_worker), 3)


def test_a_nested_call_carries_the_depth_that_ends_endless_recursion(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html"""
    code = """
import boto3, json
def handler(event, context):
    client, sent = boto3.client("lambda"), []
    client.meta.events.register("before-send", lambda request, **_: sent.append(dict(request.headers)))
    client.invoke(FunctionName=event)
    return [str(headers.get("X-Ministack-Invoke-Depth")) for headers in sent]
"""
    inner = make_function(local_aws, SLEEPING)
    outer = make_function(local_aws, code, make_role(local_aws, allow("lambda:InvokeFunction")), Timeout=30)
    assert "1" in invoke(local_aws, outer, inner)[0]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_server_even_in_the_middle_of_a_call(how: signal.Signals) -> None:
    with LocalAws() as aws:
        name, pid = make_function(aws, SLEEPING, Timeout=60), aws.pid
        call(aws, name, 0)
        busy = threading.Thread(target=call, args=(aws, name, 30))
        busy.start()
        time.sleep(0.5)
        workers = children(pid)
        assert workers
        os.kill(pid, how)
        assert eventually(lambda: not any(map(running, [pid, *workers])), 5)
        busy.join()
