"""Execution environments: one for each concurrent call, reused, bounded, and gone with the server.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import Gate, allow, archive, eventually, invoke, make_function, make_role


@pytest.fixture
def short_lived() -> Iterator[LocalAws]:
    """A server whose idle workers end after four seconds."""
    with LocalAws({"LAMBDA_WARM_TTL_SECONDS": "4"}) as aws:
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


def test_concurrent_calls_have_a_worker_each_which_is_reused_and_then_ends(short_lived: LocalAws, gate: Gate) -> None:
    name = make_function(short_lived, gate.code, Timeout=60)
    with ThreadPoolExecutor(10) as callers:
        answers = [callers.submit(invoke, short_lived, name) for _ in range(10)]
        assert eventually(lambda: len(gate.inside()) == 10)
        gate.open()
        busy = {answer.result() for answer in answers}
    assert busy == gate.inside()
    assert invoke(short_lived, name) in busy
    assert eventually(lambda: not any(map(running, busy)))
    assert eventually(lambda: not list((short_lived.state_dir / "tmp").glob("worker-*")))


def test_a_call_in_flight_finishes_on_the_code_it_started_with(local_aws: LocalAws, gate: Gate) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-function-zip.html"""
    name = make_function(local_aws, gate.code, Timeout=60)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(invoke, local_aws, name)
        assert eventually(gate.inside)
        new = archive({"index.py": "def handler(event, context): return -1"})
        local_aws.client("lambda").update_function_code(FunctionName=name, ZipFile=new)
        assert invoke(local_aws, name) == -1
        gate.open()
        old_worker = answer.result()
    assert {old_worker} == gate.inside()
    assert eventually(lambda: not running(old_worker))


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
    inner = make_function(local_aws, "def handler(event, context): pass")
    outer = make_function(local_aws, code, make_role(local_aws, allow("lambda:InvokeFunction")), Timeout=30)
    assert "1" in invoke(local_aws, outer, inner)[0]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_server_even_in_the_middle_of_a_call(how: signal.Signals, gate: Gate) -> None:
    with LocalAws() as aws:
        name, pid = make_function(aws, gate.code, Timeout=120), aws.pid

        def call() -> None:
            with suppress(BotoCoreError, ClientError, OSError):  # the server goes away
                invoke(aws, name)

        busy = threading.Thread(target=call)
        busy.start()
        assert eventually(gate.inside)
        workers = children(pid)
        assert gate.inside() <= set(workers)
        os.kill(pid, how)
        assert eventually(lambda: not any(map(running, [pid, *workers])))
        busy.join()
