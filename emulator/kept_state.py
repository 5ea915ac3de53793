"""Keeps the state of the local AWS on disk between two servers on one folder (``python -m emulator start --keep``).

The state is what the services hold in memory: MiniStack's stores, which are dictionaries by account and region, and
the stores of this package that ``OWN_STORES`` lists. It is written when the server stops and read when the next one
starts. A server that is killed leaves the state of the start before.

What ran when the server stopped has no equivalent on AWS, which never stops:

* an execution becomes ABORTED, with the event that AWS sends for a stopped one, and cannot be redriven;
* a Bedrock job starts again from its input;
* an asynchronous invocation that waited for its retry is lost.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ministack.core import responses
from ministack.services import bedrock, lambda_svc, stepfunctions

from emulator import stream_sources, xray
from emulator.bedrock import jobs

logger = logging.getLogger(__name__)

FILE, PORT_FILE = "state.pickle", "state.port"
FORM = (1, importlib.metadata.version("ministack"), sys.version_info[:2])
"""The form of the stores, which depends on the versions of MiniStack and Python. Other forms are not read."""
SERVICES = "ministack.services."
OWN_STORES: dict[str, dict[Any, Any]] = {
    "emulator.bedrock.jobs._tokens": jobs._tokens,
    "emulator.stream_sources._shards": stream_sources._shards,
    "emulator.xray._traces": xray._traces,
}
ATTEMPTS, PAUSE_SECONDS = 20, 0.1
"""A thread that still works can change a store while it is written."""
STOPPED_ERROR = "LocalAws.Stopped"
STOPPED_CAUSE = "The local AWS was stopped while the execution ran."


class StateOfOtherFormError(RuntimeError):
    """Raised when the state was written by another version. The message says what to do."""


def save(state_dir: Path, port: int) -> None:
    """Write all stores, and the port, which addresses in them have. If that fails, the last state stays."""
    partial = state_dir / f"{FILE}.partial"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with partial.open("wb") as file:
                pickle.dump((FORM, {name: dict(store) for name, store in _stores()}), file, pickle.HIGHEST_PROTOCOL)
            break
        except RuntimeError:  # a dictionary changed its size
            if attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE_SECONDS)
    partial.replace(state_dir / FILE)
    (state_dir / PORT_FILE).write_text(f"{port}\n")


def restore(state_dir: Path) -> bool:
    """Fill the stores from the folder's state. Returns False if there is none. Raises StateOfOtherFormError."""
    path = state_dir / FILE
    if not path.exists():
        return False
    with path.open("rb") as file:
        form, stores = pickle.load(file)  # noqa: S301 - the file is our own, in the folder of this server
    if form != FORM:
        raise StateOfOtherFormError(
            f"The state in {path} was written by another version of the local AWS (MiniStack {form[1]}, Python "
            f"{'.'.join(map(str, form[2]))}). Delete the file to start empty."
        )
    for name, content in stores.items():
        module, _, attribute = name.rpartition(".")
        store = getattr(importlib.import_module(module), attribute)
        data = getattr(store, "_data", store)
        data.clear()
        data.update(content)
    for shard in stream_sources._shards.values():
        shard.again()
    return True


def resume() -> None:
    """End or restart what ran when the state was written. The server answers by now, so targets of events can run."""
    if lambda_svc._esms.has_any():
        lambda_svc._ensure_poller()
    for (account, region, _arn), record in list(stepfunctions._executions._data.items()):
        if record["status"] == "RUNNING":
            _scope(account, region)
            _abort(record)
    for run in list(stepfunctions._map_runs._data.values()):
        if run["status"] == "RUNNING":
            run.update(status="ABORTED", stopDate=responses.now_iso())
    for record in list(bedrock._model_invocation_jobs._data.values()):
        if record["status"] in jobs.ACTIVE:
            jobs.run_again(record)


def _abort(record: dict[str, Any]) -> None:
    now = responses.now_iso()
    record.update(status="ABORTED", stopDate=now, error=STOPPED_ERROR, cause=STOPPED_CAUSE)
    events = record["events"]
    details = {"error": STOPPED_ERROR, "cause": STOPPED_CAUSE}
    number = len(events) + 1
    events.append(
        {
            "id": number,
            "previousEventId": number - 1,
            "type": "ExecutionAborted",
            "timestamp": now,
            "executionAbortedEventDetails": details,
        }
    )
    is_child, is_express = "mapRunArn" in record, ":express:" in record["executionArn"]
    if not is_child and not is_express:
        stepfunctions._emit_execution_status_event(record)


def _scope(account: str, region: str) -> None:
    responses.set_request_account_id(account)
    responses.set_request_region(region)


def _stores() -> Iterator[tuple[str, dict[Any, Any]]]:
    """The stores with content, each once, under the name of a module that has it."""
    seen: set[int] = set()
    for module in _service_modules():
        for attribute, value in vars(module).items():
            is_store = isinstance(value, responses.AccountScopedDict | responses.AccountRegionScopedDict)
            if is_store and value._data and id(value) not in seen:
                seen.add(id(value))
                yield f"{module.__name__}.{attribute}", value._data
    yield from OWN_STORES.items()


def _service_modules() -> list[ModuleType]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(SERVICES)]
