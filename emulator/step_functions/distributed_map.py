"""Distributed Map: its map run and children (dg/state-map-distributed.html)."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ministack.core.responses import new_uuid, now_iso
from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions.executions import ApiError, MapChild, answering, register, unregister
from emulator.step_functions.item_reader import Source, open_source, reader_error, refuse_unknown
from emulator.step_functions.limits import MAX_PAYLOAD_BYTES, byte_size, check_result, to_json
from emulator.step_functions.result_writer import Results
from emulator.step_functions.states import MAP_MODES, Outcome, Running, item_input, map_items, whole_number
from emulator.step_functions.threads import THREADS

AWS_CONCURRENCY = 10_000
LOCAL_CONCURRENCY = 100
"""The most children at a time. It is lower than on AWS, because each Lambda call in flight is a process here."""
SUCCEEDED_KEPT = 500
FAILED_KEPT = 5_000
LOOK_SECONDS = 0.2
COUNTS = (
    "pending",
    "running",
    "succeeded",
    "failed",
    "timedOut",
    "aborted",
    "total",
    "resultsWritten",
    "failuresNotRedrivable",
    "pendingRedrive",
)
BATCHER_FIELDS = (
    "BatchInput",
    "MaxInputBytesPerBatch",
    "MaxInputBytesPerBatchPath",
    "MaxItemsPerBatch",
    "MaxItemsPerBatchPath",
)
UPDATABLE = {"maxConcurrency": 2**31 - 1, "toleratedFailureCount": 2**63 - 1, "toleratedFailurePercentage": 100}
"""The settings that UpdateMapRun changes, each with its largest value."""
STATUS_COUNT = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}


@dataclass(frozen=True)
class ChildInput:
    """The input of one child and how many items it holds."""

    index: int
    value: Any
    text: str
    items: int
    child: MapChild | None = None
    """The failed child with this input, which is to be redriven."""


def run_distributed_map(running: Running, processor: dict[str, Any]) -> Outcome:
    """One attempt of a DISTRIBUTED map, which is its own map run."""
    state, frame = running.state, running.frame
    execution = frame.execution
    if execution.express:
        raise StateError("States.Runtime", "Express workflows do not support Distributed Map.")
    items = map_items(running) if "ItemReader" not in state else None
    length = 0 if items is None else len(items)
    if frame.map_run is None:
        execution.add_event("MapStateStarted", mapStateStartedEventDetails={"length": length})
        open_items = _source(running, items)
        run = frame.map_run = MapRun(running, processor)
        execution.add_event("MapRunStarted", mapRunStartedEventDetails={"mapRunArn": run.arn})
    else:
        open_items = _source(running, items)
        run = frame.map_run
        run.redrive(running)
        details = {"mapRunArn": run.arn, "redriveCount": run.record["redriveCount"]}
        execution.add_event("MapRunRedriven", mapRunRedrivenEventDetails=details)
    try:
        result = run.run(open_items)
    except StateError as error:
        run.close("FAILED")
        details = {"error": error.error} | ({"cause": error.cause} if error.cause else {})
        execution.add_event("MapRunFailed", mapRunFailedEventDetails=details)
        raise
    except BaseException:
        run.close("ABORTED")
        execution.add_event("MapRunAborted")
        execution.add_event("MapStateAborted")
        raise
    run.close("SUCCEEDED")
    execution.add_event("MapRunSucceeded")
    execution.add_event("MapStateSucceeded")
    return running.finish(result, is_result=True)


def _source(running: Running, items: list[Any] | None) -> Callable[[], Source]:
    """The function that opens the items. The reader's fields are evaluated here, before the map run starts."""
    if items is not None:
        return lambda: Source(lambda: iter(items), "STATE_DATA")
    reader = running.state["ItemReader"]
    config = reader.get("ReaderConfig", {})
    max_items = whole_number(_part(running, config), "MaxItems")
    arguments = _arguments(running, reader, "ItemReader")

    def opened() -> Source:
        if max_items < 0:
            raise reader_error("field MaxItems must be positive")
        return open_source(reader["Resource"], arguments, config, max_items, running.frame.execution.role)

    return opened


def _part(running: Running, part: dict[str, Any]) -> Running:
    """A part of the state, such as ReaderConfig. Its fields are evaluated like those of the state."""
    language = "JSONata" if running.jsonata else "JSONPath"
    return Running(
        running.frame,
        {**part, "InputPath": running.state.get("InputPath", "$"), "QueryLanguage": language},
        running.input,
    )


def _arguments(running: Running, holder: dict[str, Any], field: str) -> dict[str, Any]:
    if running.jsonata:
        found = running.evaluation().template(holder.get("Arguments", {}), f"{field}/Arguments")
    else:
        found = running.frame.paths().template(holder.get("Parameters", {}), running.effective_input())
    if not isinstance(found, dict):
        raise StateError("States.Runtime", f"{field} needs an object of arguments.")
    return found


class Batcher:
    """ItemBatcher (dg/input-output-itembatcher.html). Sizes are bytes in UTF-8, including the batch's envelope."""

    def __init__(self, running: Running, config: dict[str, Any]) -> None:
        refuse_unknown(config, BATCHER_FIELDS, "ItemBatcher")
        part = _part(running, config)
        self._max_items = whole_number(part, "MaxItemsPerBatch")
        max_bytes = whole_number(part, "MaxInputBytesPerBatch")
        self._max_bytes = min(max_bytes or MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES)
        if self._max_items < 0 or max_bytes < 0 or not (self._max_items or max_bytes):
            raise StateError(
                "States.Runtime", "ItemBatcher needs a positive MaxItemsPerBatch or MaxInputBytesPerBatch."
            )
        self._head: dict[str, Any] = {}
        if "BatchInput" in config:
            if running.jsonata:
                given = running.evaluation().template(config["BatchInput"], "ItemBatcher/BatchInput")
            else:
                given = running.frame.paths().template(config["BatchInput"], running.effective_input())
            self._head = {"BatchInput": given}
        self._prefix = to_json({**self._head, "Items": []})[:-2]
        self._envelope = byte_size(self._prefix) + 2

    def batches(self, items: Iterator[Any]) -> Iterator[ChildInput]:
        """Put items into batches. Raises StateError States.DataLimitExceeded for an item that no batch can hold."""
        numbers = itertools.count()
        held: list[Any] = []
        texts: list[str] = []
        size = self._envelope
        for item in items:
            text = to_json(item)
            weight = byte_size(text) + 1
            if held and (size + weight - 1 > self._max_bytes or len(held) == self._max_items):
                yield self._batch(next(numbers), held, texts)
                held, texts, size = [], [], self._envelope
            if self._envelope + weight - 1 > MAX_PAYLOAD_BYTES:
                raise StateError(
                    "States.DataLimitExceeded", "An item exceeds the maximum size of a child's input, 262144 bytes."
                )
            held.append(item)
            texts.append(text)
            size += weight
        if held:
            yield self._batch(next(numbers), held, texts)

    def _batch(self, number: int, items: list[Any], texts: list[str]) -> ChildInput:
        return ChildInput(number, {**self._head, "Items": items}, f"{self._prefix}{','.join(texts)}]}}", len(items))


class _Lookahead:
    """An iterator over inputs of children that can tell whether there are more."""

    def __init__(self, inputs: Iterator[ChildInput]) -> None:
        self._inputs = inputs
        self._following = list(itertools.islice(inputs, 1))

    @property
    def more(self) -> bool:
        """Whether there is another input. It is read now if it was not read before."""
        if not self._following:
            self._following = list(itertools.islice(self._inputs, 1))
        return bool(self._following)

    def __iter__(self) -> "_Lookahead":
        return self

    def __next__(self) -> ChildInput:
        if not self.more:
            raise StopIteration
        return self._following.pop()


class MapRun:
    """A map run: starts children, counts their items, and ends when all have ended or too many have failed."""

    def __init__(self, running: Running, processor: dict[str, Any]) -> None:
        state, execution = running.state, running.frame.execution
        self._running = running
        self._execution = execution
        self._role = execution.role
        label = state.get("Label") or new_uuid()
        machine, run_id = execution.machine_arn.split("/")[0], new_uuid()
        name = machine.split(":")[6]
        scope = ":".join(machine.split(":")[:5])
        self._own_machine_arn = machine
        self.arn = f"{scope}:mapRun:{name}/{label}:{run_id}"
        self._machine_arn = f"{machine}/{label}"
        self._express = processor.get("ProcessorConfig", {}).get("ExecutionType") == "EXPRESS"
        self._child_scope = f"{scope}:{'express' if self._express else 'execution'}:{name}/{label}"
        self._definition = {"QueryLanguage": running.frame.language, **processor}
        self._batcher = Batcher(running, state["ItemBatcher"]) if "ItemBatcher" in state else None
        writer = state.get("ResultWriter", {})
        refuse_unknown(writer.get("WriterConfig", {}), ("Transformation", "OutputType"), "WriterConfig")
        self._export = _arguments(running, writer, "ResultWriter") if "Resource" in writer else None
        self._results = Results(writer.get("WriterConfig", {}), exported=self._export is not None)
        concurrency = whole_number(running, "MaxConcurrency")
        if concurrency < 0:
            raise StateError("States.Runtime", "MaxConcurrency cannot be negative.")
        self.record: dict[str, Any] = {
            "mapRunArn": self.arn,
            "executionArn": execution.arn,
            "status": "RUNNING",
            "startDate": now_iso(),
            "maxConcurrency": concurrency,
            "toleratedFailurePercentage": _percentage(running),
            "toleratedFailureCount": _tolerated_count(running),
            "itemCounts": dict.fromkeys(COUNTS, 0),
            "executionCounts": dict.fromkeys(COUNTS, 0),
            "redriveCount": 0,
            "_stateMachineArn": self._machine_arn,
        }
        self._counted = {
            name
            for name in ("Percentage", "Count")
            if f"ToleratedFailure{name}" in state or f"ToleratedFailure{name}Path" in state
        }
        self._changed = threading.Condition()
        self._children: dict[MapChild, ChildInput] = {}
        self._begun = 0
        self._unsuccessful: dict[MapChild, ChildInput] = {}
        self._again: dict[MapChild, ChildInput] = {}
        self._forgotten = 0
        self._kept: dict[bool, deque[str]] = {True: deque(), False: deque()}
        stepfunctions._map_runs[self.arn] = self.record

    def run(self, open_items: Callable[[], Source]) -> Any:
        """Run every item and return the state's result.

        Raises:
            StateError: States.ExceedToleratedFailureThreshold, or an error of reading, selecting or writing.
            StoppedError, MachineTimedOutError: when the execution ends before.
        """
        source = open_items()
        if self.record["redriveCount"] == 0:
            self._count_pending(source.count())
        fresh = itertools.islice(self._inputs(source), self._begun, None)
        inputs = _Lookahead(itertools.chain(list(self._again.values()), fresh))
        try:
            with self._running.frame.control.stopping(self._wake):
                self._run_children(inputs)
            if self._exceeded():
                raise StateError(
                    "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded"
                )
        except BaseException:
            self._abort_children()
            if self._export is not None:
                self._add_pending(inputs)
                self._write()
            raise
        for counts in (self.record["itemCounts"], self.record["executionCounts"]):
            counts["resultsWritten"] = counts["total"] - counts["aborted"]
        if self._export is not None:
            return {"MapRunArn": self.arn, "ResultWriterDetails": self._write()}
        outputs = self._results.outputs()
        check_result(to_json(outputs), self._running.frame.context["State"]["Name"])
        return outputs

    @property
    def redrivable(self) -> bool:
        """Whether every child that failed is still known."""
        return self._forgotten == 0

    def redrive(self, running: Running) -> None:
        """Rerun unsuccessful children. Standard ones continue where they failed (dg/redrive-map-run.html)."""
        self._running = running
        counts = (self.record["itemCounts"], self.record["executionCounts"])
        for child, given in self._unsuccessful.items():
            status = STATUS_COUNT[child.record["status"]]
            for count, number in zip(counts, (given.items, 1), strict=True):
                count[status] -= number
            counts[0]["pending"] += given.items
            counts[1]["total"] -= 1
            self._again[child] = replace(given, child=child)
        self._unsuccessful.clear()
        self._results.redrive()
        self.record.pop("stopDate", None)
        self.record.update(status="RUNNING", redriveCount=self.record["redriveCount"] + 1, redriveDate=now_iso())

    def close(self, status: str) -> None:
        if status == "SUCCEEDED":
            self._results.close()
            self._unsuccessful.clear()
        self.record.update(status=status, stopDate=now_iso())

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _count_pending(self, items: int) -> None:
        self.record["itemCounts"].update(total=items, pending=items)

    def _inputs(self, source: Source) -> Iterator[ChildInput]:
        """Inputs of children: items, selected, then batched."""
        selected = (
            item_input(self._running, {"Index": index, "Value": value, "Source": source.name})
            for index, value in enumerate(source.read())
        )
        if self._batcher is not None:
            return self._batcher.batches(selected)
        return self._single(selected)

    def _single(self, items: Iterator[Any]) -> Iterator[ChildInput]:
        for index, item in enumerate(items):
            text = to_json(item)
            if byte_size(text) > MAX_PAYLOAD_BYTES:
                raise StateError(
                    "States.DataLimitExceeded", "An item exceeds the maximum size of a child's input, 262144 bytes."
                )
            yield ChildInput(index, item, text, 1)

    def _run_children(self, inputs: "_Lookahead") -> None:
        while True:
            self._running.frame.control.check()
            more = inputs.more  # read while the children before it work
            with self._changed:
                if self._exceeded() or not (self._children or more):
                    return
                if not more or len(self._children) >= self._concurrency():
                    self._changed.wait(LOOK_SECONDS)
                    continue
            self._start(next(inputs))

    def _concurrency(self) -> int:
        """The current concurrency. It is read for each child, because UpdateMapRun can change it during the run."""
        return min(self.record["maxConcurrency"] or AWS_CONCURRENCY, LOCAL_CONCURRENCY)

    def _start(self, given: ChildInput) -> None:
        denial = self._role.denial("states:StartExecution", self._own_machine_arn)
        if denial:
            raise StateError("StepFunctions.AWSStepFunctionsException", f"{denial} (Status Code: 400)")
        child, run = self._redriven(given) or self._new_child(given)
        child.record["mapRunArn"] = self.arn
        with self._changed:
            self._children[child] = replace(given, child=None)
            self._move(None, "running", given.items)
        if not self._express:
            register(child)

        def run_child() -> None:
            run()
            unregister(child)

        THREADS.submit(run_child)

    def _redriven(self, given: ChildInput) -> tuple[MapChild, Callable[[], None]] | None:
        """The failed child and how it continues; None for an input without one, or if it must start again."""
        if given.child is None:
            self._begun += 1
            return None
        del self._again[given.child]
        if self._express:
            return None
        try:
            return given.child, given.child.resume()
        except ApiError:
            return None

    def _new_child(self, given: ChildInput) -> tuple[MapChild, Callable[[], None]]:
        name = new_uuid()
        arn = f"{self._child_scope}:{name}" + (f":{new_uuid()}" if self._express else "")
        child = MapChild(
            arn,
            self._machine_arn,
            name,
            given.text,
            role=self._role,
            definition=self._definition,
            express=self._express,
            log=self._execution.log,
            on_end=self._ended,
        )
        return child, lambda: child.run(given.value)

    def _ended(self, child: MapChild) -> None:
        with self._changed:
            given = self._children.pop(child)
            self._move("running", STATUS_COUNT[child.record["status"]], given.items)
            self._results.add(given.index, child.record)
            if child.record["status"] != "SUCCEEDED":
                self._unsuccessful[child] = given
                if len(self._unsuccessful) > FAILED_KEPT:
                    del self._unsuccessful[next(iter(self._unsuccessful))]
                    self._forgotten += 1
            self._forget_older(child)
            self._changed.notify_all()

    def _move(self, before: str | None, after: str, items: int) -> None:
        """Count a child and its items under its new status."""
        of_items, of_children = self.record["itemCounts"], self.record["executionCounts"]
        if before is None:
            of_items["pending"] -= items
            of_children["total"] += 1
        else:
            of_items[before] -= items
            of_children[before] -= 1
        of_items[after] += items
        of_children[after] += 1

    def _forget_older(self, child: MapChild) -> None:
        """Keep details only of the last children, and of failed ones longer. The counts stay complete."""
        if self._express:
            return
        succeeded = child.record["status"] == "SUCCEEDED"
        kept = self._kept[succeeded]
        kept.append(child.arn)
        if len(kept) > (SUCCEEDED_KEPT if succeeded else FAILED_KEPT):
            stepfunctions._executions.pop(kept.popleft(), None)

    def _exceeded(self) -> bool:
        """Whether too many items failed. Every item of a failed batch counts. Without a threshold, one is too many."""
        counts = self.record["itemCounts"]
        failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
        if failed == 0:
            return False
        over_count: bool = failed > self.record["toleratedFailureCount"]
        over_percentage: bool = failed * 100 > self.record["toleratedFailurePercentage"] * counts["total"]
        if self._counted == {"Count"}:
            return over_count
        if self._counted == {"Percentage"}:
            return over_percentage
        return over_count or over_percentage

    def _abort_children(self) -> None:
        with self._changed:
            children = list(self._children)
        for child in children:
            child.stop(None, None)

    def _add_pending(self, inputs: Iterator[ChildInput]) -> None:
        """Add records of children that never started (dg/input-output-resultwriter.html: PENDING_n.json)."""
        for given in inputs:
            name = new_uuid()
            self._results.add(
                given.index,
                {
                    "executionArn": f"{self._child_scope}:{name}",
                    "stateMachineArn": self._machine_arn,
                    "name": name,
                    "status": "PENDING",
                    "input": given.text,
                },
            )

    def _write(self) -> dict[str, str]:
        assert self._export is not None
        return self._results.export(
            self._export.get("Bucket", ""), self._export.get("Prefix", ""), self.arn, self._role
        )


def _tolerated_count(running: Running) -> int:
    count = whole_number(running, "ToleratedFailureCount")
    if count < 0:
        raise StateError("States.Runtime", "ToleratedFailureCount cannot be negative.")
    return count


def _percentage(running: Running) -> float:
    value = running.field("ToleratedFailurePercentage", "number", 0)
    try:
        if isinstance(value, (bool, dict, list)):
            raise ValueError
        percentage = float(value)
    except (TypeError, ValueError):
        shown = value if isinstance(value, str) else to_json(value)
        path = running.state.get("ToleratedFailurePercentagePath")
        raise StateError(
            "States.Runtime",
            f'The ToleratedFailurePercentagePath field refers to value "{shown}" which is not a valid float: {path}',
        ) from None
    if not 0 <= percentage <= 100:
        raise StateError("States.Runtime", "ToleratedFailurePercentage must be between 0 and 100.")
    return percentage


def api_update_map_run(data: dict[str, Any]) -> dict[str, Any]:
    """API_UpdateMapRun: changes a map run in progress, from its next child on.

    Raises:
        ApiError: ResourceNotFound, or ValidationException for what is out of range or has ended.
    """
    run = stepfunctions._map_runs.get(data.get("mapRunArn"))
    if run is None:
        raise ApiError("ResourceNotFound", f"Map Run Does Not Exist: '{data.get('mapRunArn')}'")
    for field, most in UPDATABLE.items():
        value = data.get(field)
        if value is not None and not 0 <= value <= most:
            raise ApiError("ValidationException", f"The value {value} of {field} is not between 0 and {most}")
    if run["status"] != "RUNNING":
        raise ApiError("ValidationException", f"The map run is {run['status']} and cannot be updated")
    run.update({field: data[field] for field in UPDATABLE if data.get(field) is not None})
    return {}


def api_list_map_runs(data: dict[str, Any]) -> dict[str, Any]:
    """API_ListMapRuns: up to `maxResults` at once, 100 by default and up to 1,000.

    Raises:
        ApiError: ExecutionDoesNotExist, ValidationException or InvalidToken.
    """
    arn, most, token = data.get("executionArn"), data.get("maxResults") or 100, data.get("nextToken") or "0"
    if arn not in stepfunctions._executions:
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    if not 0 < most <= 1_000:
        raise ApiError("ValidationException", "maxResults must be between 0 and 1000")
    if not token.isdigit():
        raise ApiError("InvalidToken", "Invalid Token: 'Invalid token'")
    runs = [run for run in list(stepfunctions._map_runs.values()) if run["executionArn"] == arn]
    page = runs[int(token) : int(token) + most]
    shown = [
        {"executionArn": arn, "mapRunArn": run["mapRunArn"], "stateMachineArn": run["_stateMachineArn"]}
        | {name: run[name] for name in ("startDate", "stopDate") if run.get(name)}
        for run in page
    ]
    following = {"nextToken": str(int(token) + most)} if int(token) + most < len(runs) else {}
    return {"mapRuns": shown, **following}


def install() -> None:
    """Add the distributed mode to Map states, and its API."""
    MAP_MODES["DISTRIBUTED"] = run_distributed_map
    stepfunctions._update_map_run = answering(api_update_map_run)
    stepfunctions._list_map_runs = answering(api_list_map_runs)
