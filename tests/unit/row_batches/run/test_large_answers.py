"""A worker's memory when its tool answers as much as Lambda lets it: 6 MB, in every call at once."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from row_batches.run.batch import Batches
from row_batches.run.messages import BatchReference
from row_batches.run.process_tool_rows import MOST_UNWRITTEN_BYTES, process_tool_rows
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from tests.support.aws_resources import eventually
from tests.support.batches import KEYS, make_plan, staged_items
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeDeadline, FakeInvoker, FakeObjectStore, FakeOwnership
from tests.support.memory import peak_kilobytes

REPOSITORY = Path(__file__).resolve().parents[4]
COLUMNS = {"columns": [{"name": "size", "source": "$.size"}]}
MEGABYTE = 1024 * 1024


def text_answer() -> bytes:
    # One character beyond U+FFFF makes every character of the text take four bytes.
    return ('{"text": "' + "x" * (6_000_000 - 20) + '\U0001f600"}').encode()


def objects_answer() -> bytes:
    return orjson.dumps({"items": [{"name": f"item {n:06d}", "price": n, "tags": ["a"]} for n in range(120_000)]})


def json_text_answer() -> bytes:
    return orjson.dumps({"body": objects_answer().decode()})


def by_jmespath(path: str) -> dict[str, Any]:
    return {"extraction_methods": [{"method": "jmespath", "paths": {"size": path}}]}


ANSWERS: dict[str, tuple[Callable[[], bytes], dict[str, Any], str, int]] = {
    "a text": (text_answer, COLUMNS, "", 60),
    "objects": (objects_answer, by_jmespath("items[-1].name"), "item 119999", 30),
    "a JSON text in a field": (json_text_answer, by_jmespath("items[-1].name"), "item 119999", 30),
}
"""Answers of some 6 MB, the mapping that reads them, the cell that they give, and how many there are."""


def run(
    store: FakeObjectStore, rows: int, threads: int, invoker: FakeInvoker, mapping: dict[str, Any]
) -> ToolRowsResponse:
    cells = [[str(row), "text"] for row in range(1, rows + 1)]
    make_plan(cells, store=store, threads=threads, output_mapping=mapping)
    clock = FakeClock()
    return process_tool_rows(
        ToolRowsRequest(BatchInput=BatchReference(plan_key=KEYS.plan), Items=staged_items(cells)),
        batches=Batches(store, clock),
        invoker=invoker,
        dead_letters=FakeDeadLetters(),
        ownership=FakeOwnership(clock),
        clock=clock,
        deadline=FakeDeadline(),
    )


def test_no_row_is_started_while_too_many_bytes_wait_to_be_written() -> None:
    written = threading.Event()

    class SlowStore(FakeObjectStore):
        def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
            if key.startswith(KEYS.rows):
                written.wait(300)
                body = b""
            return super().put(key, body, tags)

    answer = orjson.dumps({"text": "x" * 4 * MEGABYTE})
    invoker = FakeInvoker(lambda payload, timeout: answer)
    done: list[ToolRowsResponse] = []
    worker = threading.Thread(target=lambda: done.append(run(SlowStore(), 30, 4, invoker, COLUMNS)))

    worker.start()
    try:
        enough = eventually(lambda: len(invoker.calls) >= MOST_UNWRITTEN_BYTES // len(answer))
        time.sleep(0.5)  # for one too many to come, if there were one
        before = len(invoker.calls)
    finally:
        written.set()
        worker.join()

    assert enough
    assert before <= MOST_UNWRITTEN_BYTES // len(answer) + 1 + 4
    assert done[0].succeeded == 30


@pytest.mark.parametrize("kind", ANSWERS)
def test_thirty_answers_of_6_mb_at_once_fit_into_the_functions_1024_mb(kind: str) -> None:
    python_path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")])
    environment = {**os.environ, "PYTHONPATH": python_path}

    done = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True, env=environment)

    peak_mb = float(done.stdout)
    assert peak_mb < 700  # beside it, the SDK's clients and buffers


def main(kind: str) -> None:
    """Print the peak memory of this process, in MB, after large answers to rows in 30 threads, all of them at once."""
    from foundation import invocation  # noqa: PLC0415

    class ForgetfulStore(FakeObjectStore):
        def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
            if key.startswith(KEYS.rows):
                found.update(cell for line in body.split(b"\n") if f",{cell}".encode() in line[:1_000])
                body = b""
            return super().put(key, body, tags)

    make_answer, mapping, cell, large_rows = ANSWERS[kind]
    answer, found = make_answer(), set[str]()
    assert 5_000_000 < len(answer) < 8_000_000
    all_threads = threading.Barrier(30)
    calls = itertools.count()

    def answering(payload: bytes, timeout: float) -> Any:
        if next(calls) < 30:
            return b'{"text": "small"}'  # the worker starts with a few rows and adds more while calls succeed
        own = bytes(bytearray(answer))
        all_threads.wait(300)
        return own

    invocation.limit_heap()
    response = run(ForgetfulStore(), 30 + large_rows, 30, FakeInvoker(answering), mapping)
    assert response.succeeded == 30 + large_rows
    assert cell in found
    print(peak_kilobytes() / 1024)


if __name__ == "__main__":
    main(sys.argv[1])
