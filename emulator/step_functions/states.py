"""The states of a machine (dg/concepts-states.html), in JSONata and JSONPath."""

import math
import os
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions.expressions import Evaluation, QueryEvaluationError
from emulator.step_functions.json_path import Paths
from emulator.step_functions.limits import check_input, check_result, to_json
from emulator.step_functions.running import RunningExecution
from emulator.step_functions.tasks import OPTIMIZED, Task
from emulator.step_functions.threads import THREADS, Control, StoppedError

State = dict[str, Any]
Outcome = tuple[Any, str | None]
"""A state's output and the next state's name."""

INLINE_CONCURRENCY = 40
LONGEST_WAITS = [entry.rpartition("=") for entry in os.environ.get("SFN_LONGEST_WAITS", "").split()]


@dataclass(slots=True)
class Frame:
    """The position of a machine, a branch or an iteration, with its own variables and context object."""

    execution: RunningExecution
    control: Control
    context: dict[str, Any]
    variables: dict[str, Any]
    language: str
    entered_event: int = 0
    reached: tuple[str, Any] | None = None
    """The state that was entered last, and its input. A redrive continues there."""
    parts: dict[int, "Part"] = field(default_factory=dict)
    """That state's branches or iterations."""
    map_run: Any = None
    """That state's map run."""

    def inner(self, control: Control, **context: Any) -> "Frame":
        """The frame of a branch. It sees this frame's variables, but its own are not visible here."""
        return Frame(self.execution, control, {**self.context, **context}, dict(self.variables), self.language)

    def enter(self, **state: Any) -> None:
        """Set the context's State in a new context object, because outputs can hold the old one."""
        self.context = {**self.context, "State": state}

    def reach(self, name: str, data: Any) -> None:
        """Go to a state that has not run yet."""
        self.reached = (name, data)
        self.forget_parts()

    def forget_parts(self) -> None:
        self.parts, self.map_run = {}, None

    def redriven(self, control: Control, execution: dict[str, Any]) -> "Frame":
        """The frame that continues after a redrive, with the context object's new Execution.

        It is another one, because a thread that was stopped inside a call may still come back to this one.
        """
        parts = {index: replace(part) for index, part in self.parts.items()}
        return replace(self, control=control, context={**self.context, "Execution": execution}, parts=parts)

    def paths(self) -> Paths:
        return Paths(self.context, self.variables)


@dataclass(slots=True)
class Part:
    """A branch of a Parallel state or an iteration of an INLINE map."""

    frame: Frame | None
    ended: bool = False
    result: Any = None


NOT_BEGUN = Part(None)


class Running:
    """A running state: its definition, its input, and the values of its fields."""

    def __init__(self, frame: Frame, state: State, data: Any) -> None:
        self.frame = frame
        self.state = state
        self.input = data
        self.jsonata = state.get("QueryLanguage", frame.language) == "JSONata"
        self.assigned: dict[str, Any] = {}

    @property
    def next(self) -> str | None:
        return None if self.state.get("End") else self.state.get("Next")

    def evaluation(self, context: dict[str, Any] | None = None, **states: Any) -> Evaluation:
        """The scope of expressions: `$states.input`, `.context` and the given values, such as `result`."""
        known = {"input": self.input, "context": context or self.frame.context, **states}
        return Evaluation(known, self.frame.variables)

    def effective_input(self) -> Any:
        """The input after InputPath (JSONPath)."""
        return self.frame.paths().resolve(self.state.get("InputPath", "$"), self.input)

    def arguments(self) -> Any:
        if self.jsonata:
            if "Arguments" not in self.state:
                return self.input
            return self.evaluation().template(self.state["Arguments"], "Arguments")
        data = self.effective_input()
        return self.frame.paths().template(self.state["Parameters"], data) if "Parameters" in self.state else data

    def field(self, name: str, expected: str, default: Any = None) -> Any:
        """The value of a field that can be an expression (JSONata) or have a variant `<name>Path` (JSONPath)."""
        if name in self.state:
            value = self.state[name]
            return self.evaluation().typed(value, name, expected) if self.jsonata else value
        if f"{name}Path" in self.state:
            return self.frame.paths().resolve(self.state[f"{name}Path"], self.effective_input())
        return default

    def finish(self, output: Any, *, is_result: bool = False) -> Outcome:
        """The outcome, by Output and Assign, which do not see each other's results, or by the JSONPath chain."""
        if self.jsonata:
            evaluation = self.evaluation(result=output) if is_result else self.evaluation()
            if "Output" in self.state:
                output = evaluation.template(self.state["Output"], "Output")
            self.assign(self.state, evaluation)
            return output, self.next
        paths = self.frame.paths()
        assigned = paths.template(self.state.get("Assign", {}), output)
        if "ResultSelector" in self.state:
            output = paths.template(self.state["ResultSelector"], output)
        output = stepfunctions._apply_result_path_raw(self.state.get("ResultPath", "$"), self.input, output)
        output = paths.resolve(self.state.get("OutputPath", "$"), output)
        self.set_variables(assigned)
        return output, self.next

    def assign(self, holder: State, evaluation: Evaluation) -> None:
        """Set variables. Every expression sees the old values (dg/workflow-variables.html)."""
        if "Assign" in holder:
            self.set_variables(evaluation.template(holder["Assign"], "Assign"))

    def set_variables(self, values: dict[str, Any]) -> None:
        """Set variables, and keep them for the event of the state's exit."""
        self.frame.variables.update(values)
        self.assigned.update(values)

    def exit_details(self, name: str, output: str) -> dict[str, Any]:
        """StateExitedEventDetails, with variables as JSON text if the state assigned any."""
        details: dict[str, Any] = {"name": name, "output": output, "outputDetails": {"truncated": False}}
        if self.assigned:
            details["assignedVariables"] = {name: to_json(value) for name, value in self.assigned.items()}
            details["assignedVariablesDetails"] = {"truncated": False}
        return details


def run_states(frame: Frame, states: dict[str, State], start_at: str, data: Any, *, redriven: bool = False) -> Any:
    """Run states from `start_at` to an end and return the last output.

    The first state of a redriven frame goes on with those of its parts that did not end.

    Raises:
        StateError: the error that nothing caught.
        StoppedError, MachineTimedOutError: see `threads.Control`.
    """
    name: str | None = start_at
    text = to_json(data)
    while name is not None:
        frame.control.check()
        state = states.get(name)
        if state is None:
            raise StateError("States.Runtime", f"State '{name}' is not defined.")
        kind = state["Type"]
        frame.enter(EnteredTime=now_iso(), Name=name)
        if not redriven:
            frame.reach(name, data)
        redriven = False
        frame.entered_event = frame.execution.add_event(
            f"{kind}StateEntered",
            stateEnteredEventDetails={"name": name, "input": text, "inputDetails": {"truncated": False}},
        )
        entered = frame.entered_event
        running = Running(frame, state, data)
        try:
            data, following = STATES[kind](running)
            text = to_json(data)
            check_result(text, name)
        except StateError as error:
            raise _located(frame, name, entered, error) from None
        frame.execution.add_event(f"{kind}StateExited", stateExitedEventDetails=running.exit_details(name, text))
        name = following
    return data


def _located(frame: Frame, name: str, entered: int, error: StateError) -> StateError:
    """The error with its place, which errors of the interpreter itself name (recording: map_items_jsonata.json)."""
    located = "An error occurred while executing the state"
    if error.error in ("States.QueryEvaluationError", "States.Runtime") and not str(error.cause).startswith(located):
        error.cause = f"{located} '{name}' (entered at the event id #{entered}). {error.cause}"
        if error.error == "States.QueryEvaluationError":
            details = {"error": error.error, "cause": error.cause, "state": name}
            if isinstance(error, QueryEvaluationError):
                details["location"] = error.location
            frame.execution.add_event("EvaluationFailed", evaluationFailedEventDetails=details)
    return error


# --- Retry and Catch: dg/concepts-error-handling.html


def matches(names: list[str], error: str, *, task: bool) -> bool:
    """Whether ErrorEquals matches.

    Nothing catches States.Runtime. States.ALL leaves out States.DataLimitExceeded, but not on a Task (recording:
    data_limit.json). States.TaskFailed leaves out States.Timeout.
    """
    if error == "States.Runtime":
        return False
    if error in names:
        return True
    if error == "States.DataLimitExceeded" and not task:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def retry_delay(retrier: dict[str, Any], attempt: int) -> float:
    """Seconds before retry number `attempt` (from 0)."""
    delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** attempt
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay  # noqa: S311


def guarded(running: Running, attempt: Callable[[], Outcome]) -> Outcome:
    """Attempts of a Task, Parallel or Map state under its Retry and Catch."""
    frame, state = running.frame, running.state
    entered_state, entered_event = frame.context["State"], frame.entered_event
    counts: dict[int, int] = {}
    is_task = state["Type"] == "Task"
    while True:
        frame.enter(**entered_state, RetryCount=sum(counts.values()))
        try:
            return attempt()
        except StateError as raised:
            error = _located(frame, entered_state["Name"], entered_event, raised)
        index, retrier = next(
            (
                (i, r)
                for i, r in enumerate(state.get("Retry", []))
                if matches(r["ErrorEquals"], error.error, task=is_task)
            ),
            (-1, None),
        )
        if retrier is not None and counts.get(index, 0) < retrier.get("MaxAttempts", 3):
            frame.control.sleep(retry_delay(retrier, counts.get(index, 0)))
            frame.forget_parts()
            counts[index] = counts.get(index, 0) + 1
            continue
        if state["Type"] == "Map" and error.error != "States.Runtime":
            frame.execution.add_event("MapStateFailed")
        for number, catcher in enumerate(state.get("Catch", [])):
            if matches(catcher["ErrorEquals"], error.error, task=is_task):
                return _caught(running, number, catcher, {"Error": error.error, "Cause": error.cause})
        raise error


def _caught(running: Running, number: int, catcher: dict[str, Any], error_output: dict[str, Any]) -> Outcome:
    if running.jsonata:
        evaluation = running.evaluation(errorOutput=error_output)
        output: Any = error_output
        if "Output" in catcher:
            output = evaluation.template(catcher["Output"], f"Catch[{number}]/Output")
        running.assign(catcher, evaluation)
        return output, catcher["Next"]
    running.set_variables(running.frame.paths().template(catcher.get("Assign", {}), error_output))
    output = stepfunctions._apply_result_path_raw(catcher.get("ResultPath", "$"), running.input, error_output)
    return output, catcher["Next"]


# --- Task: dg/state-task.html


def run_task(running: Running) -> Outcome:
    return guarded(running, lambda: _attempt_task(running))


def _attempt_task(running: Running) -> Outcome:
    frame, state = running.frame, running.state
    resource = state["Resource"]
    token = None
    if ".waitForTaskToken" in resource:
        token = str(uuid.uuid4())
        frame.context = {**frame.context, "Task": {"Token": token}}
    arguments = running.arguments()
    text = to_json(arguments)
    check_input(text, frame.context["State"]["Name"])
    timeout = _seconds(running, "TimeoutSeconds")
    heartbeat = _seconds(running, "HeartbeatSeconds")
    task = Task(frame.execution, frame.control, resource, arguments, token)
    events = _TaskEvents(frame, task)
    task = replace(task, submitted=events.submitted)
    events.scheduled(text, timeout, heartbeat)
    limit = timeout if token is None else min((s for s in (timeout, heartbeat) if s is not None), default=None)
    try:
        with frame.control.branch() as part:
            try:
                result = frame.control.call(replace(task, control=part).run, limit)
            finally:
                part.stop()
        text = to_json(result)
        check_result(text, task.limit_name)
    except StateError as error:
        events.failed(error)
        raise
    events.succeeded(text)
    return running.finish(result, is_result=True)


def _seconds(running: Running, field: str) -> float | None:
    """TimeoutSeconds or HeartbeatSeconds: a positive whole number, or None if it is not given."""
    value = running.field(field, "number")
    if value is None and f"{field}Path" not in running.state:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0 or value != int(value):
        cause = f"{field} must be a positive integer but was: {to_json(value)}"
        raise QueryEvaluationError(cause, field) if running.jsonata else StateError("States.Runtime", cause)
    return float(value)


class _TaskEvents:
    """The history of an attempt. A function's ARN as Resource has its own events (recording: lambda_invoke.json)."""

    def __init__(self, frame: Frame, task: Task) -> None:
        self._frame = frame
        self._by_arn = not task.resource.startswith(OPTIMIZED) and ":function:" in task.resource
        self._task = task

    def scheduled(self, text: str, timeout: float | None, heartbeat: float | None) -> None:
        limits = {} if timeout is None else {"timeoutInSeconds": int(timeout)}
        if self._by_arn:
            self._add(
                "Scheduled", resource=self._task.resource, input=text, inputDetails={"truncated": False}, **limits
            )
        else:
            if heartbeat is not None:
                limits["heartbeatInSeconds"] = int(heartbeat)
            region = self._frame.execution.region
            self._add("Scheduled", parameters=text, region=region, **self._kind(), **limits)
        self._add("Started", **({} if self._by_arn else self._kind()))

    def submitted(self, answer: dict[str, Any]) -> None:
        self._add("Submitted", output=to_json(answer), outputDetails={"truncated": False}, **self._kind())

    def succeeded(self, text: str) -> None:
        details: dict[str, Any] = {"output": text, "outputDetails": {"truncated": False}}
        self._add("Succeeded", **details, **({} if self._by_arn else self._kind()))

    def failed(self, error: StateError) -> None:
        details = {"error": error.error} | ({"cause": error.cause} if error.cause else {})
        what = "TimedOut" if error.error == "States.Timeout" else "Failed"
        self._add(what, **details, **({} if self._by_arn else self._kind()))

    def _kind(self) -> dict[str, str]:
        kind, resource = self._task.kind
        return {"resourceType": kind, "resource": resource}

    def _add(self, what: str, **details: Any) -> None:
        name = f"{'LambdaFunction' if self._by_arn else 'Task'}{what}"
        self._frame.execution.add_event(name, **{f"{name[0].lower()}{name[1:]}EventDetails": details})


# --- Pass, Succeed, Fail, Wait, Choice


def run_pass(running: Running) -> Outcome:
    """Run a Pass state (dg/state-pass.html)."""
    if running.jsonata:
        return running.finish(running.input)
    result = running.state["Result"] if "Result" in running.state else running.arguments()
    return running.finish(result)


def run_succeed(running: Running) -> Outcome:
    """Run a Succeed state (dg/state-succeed.html)."""
    if running.jsonata:
        return running.finish(running.input)[0], None
    return running.frame.paths().resolve(running.state.get("OutputPath", "$"), running.effective_input()), None


def run_fail(running: Running) -> Outcome:
    """Run a Fail state. Error and Cause can be expressions (dg/state-fail.html)."""

    def text(field: str) -> str | None:
        if running.jsonata or f"{field}Path" not in running.state:
            value = running.state.get(field)
            return (
                running.evaluation().typed(value, field, "string") if running.jsonata and value is not None else value
            )
        value = running.frame.paths().resolve(running.state[f"{field}Path"], running.input)
        if not isinstance(value, str):
            raise StateError(
                "States.Runtime",
                f"The value referenced by {field}Path must be a string, but the value was: {to_json(value)}",
            )
        return value

    raise StateError(text("Error"), text("Cause"))


def run_wait(running: Running) -> Outcome:
    """Run a Wait state, bounded by SFN_LONGEST_WAITS and scaled by SFN_WAIT_SCALE (dg/state-wait.html)."""
    name = running.frame.context["State"]["Name"]
    longest = min(
        (float(seconds) for pattern, _, seconds in LONGEST_WAITS if fnmatchcase(name, pattern)), default=math.inf
    )
    running.frame.control.sleep(min(max(0.0, _wait_seconds(running)), longest))
    return running.finish(running.input) if running.jsonata else running.finish(running.effective_input())


def _wait_seconds(running: Running) -> float:
    state = running.state
    if "Seconds" in state or "SecondsPath" in state:
        seconds = running.field("Seconds", "number")
        if running.jsonata:
            if float(seconds) != int(seconds):
                cause = f"The Seconds field cannot be parsed as an integer: {to_json(seconds)}"
                raise QueryEvaluationError(cause, "Seconds")
            if seconds < 0:
                raise QueryEvaluationError(f"Seconds cannot be negative but was: {to_json(seconds)}", "Seconds")
        elif "SecondsPath" in state:
            path = state["SecondsPath"]
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != int(seconds):
                raise StateError(
                    "States.Runtime",
                    f"The SecondsPath parameter cannot be parsed as a long value: {path} == {to_json(seconds)}",
                )
            if seconds < 0:
                raise StateError(
                    "States.Runtime",
                    f"The SecondsPath parameter references a negative value: {path} == {to_json(seconds)}",
                )
        return float(seconds)
    stamp = running.field("Timestamp", "string")
    moment: datetime | None = stepfunctions._parse_ts(stamp) if isinstance(stamp, str) and "T" in stamp else None
    if moment is None or moment.tzinfo is None:
        shape = "ISO-8601 extended offset date-time format string"
        if running.jsonata:
            raise QueryEvaluationError(f"The Timestamp field cannot be parsed as an {shape}: {stamp}", "Timestamp")
        raise StateError(
            "States.Runtime",
            f"The TimestampPath parameter does not reference a valid {shape}: {state.get('TimestampPath')} == {stamp}",
        )
    return (moment - datetime.now(moment.tzinfo)).total_seconds()


def run_choice(running: Running) -> Outcome:
    """Run a Choice state (dg/state-choice.html)."""
    state = running.state
    if running.jsonata:
        for index, rule in enumerate(state["Choices"]):
            evaluation = running.evaluation()
            if evaluation.typed(rule["Condition"], f"Choices[{index}]/Condition", "boolean") is True:
                return _chosen(running, rule, rule["Next"], f"Choices[{index}]/Output")
        if "Default" in state:
            return _chosen(running, state, state["Default"], "Output")
        raise StateError("States.NoChoiceMatched", "No choice rule matched and there is no Default.")
    data = running.effective_input()
    for rule in state["Choices"]:
        if stepfunctions._evaluate_rule(rule, data, running.frame.context):
            running.set_variables(running.frame.paths().template(rule.get("Assign", {}), data))
            return running.frame.paths().resolve(state.get("OutputPath", "$"), data), rule["Next"]
    if "Default" in state:
        running.set_variables(running.frame.paths().template(state.get("Assign", {}), data))
        return running.frame.paths().resolve(state.get("OutputPath", "$"), data), state["Default"]
    raise StateError("States.NoChoiceMatched", "No choice rule matched and there is no Default.")


def _chosen(running: Running, holder: State, following: str, field: str) -> Outcome:
    evaluation = running.evaluation()
    output = evaluation.template(holder["Output"], field) if "Output" in holder else running.input
    running.assign(holder, evaluation)
    return output, following


# --- Parallel and Map


def run_parallel(running: Running) -> Outcome:
    """Run a Parallel state. An error of one branch stops the others (dg/state-parallel.html)."""

    def attempt() -> Outcome:
        data = running.arguments()
        branches = running.state["Branches"]
        running.frame.execution.add_event("ParallelStateStarted")
        results = _side_by_side(
            running.frame,
            len(branches),
            len(branches),
            lambda index, control: _run_part(running.frame, index, control, branches[index], data),
        )
        return running.finish(results, is_result=True)

    return guarded(running, attempt)


def run_map(running: Running) -> Outcome:
    """Run a Map state (dg/state-map-inline.html, dg/state-map-distributed.html)."""
    processor = running.state.get("ItemProcessor") or running.state["Iterator"]
    mode = processor.get("ProcessorConfig", {}).get("Mode", "INLINE")
    return guarded(running, lambda: MAP_MODES[mode](running, processor))


def map_items(running: Running) -> list[Any]:
    """The items of a map that has no ItemReader (recording: map_items_jsonata.json)."""
    path = running.state.get("ItemsPath", "$")
    if running.jsonata:
        items = running.field("Items", "array", running.input)
    else:
        items = running.frame.paths().resolve(path, running.effective_input())
    if isinstance(items, list):
        return items
    if running.jsonata:
        raise QueryEvaluationError("The items of a Map state must be an array.", "Items")
    raise StateError("States.Runtime", f'Reference path "{path}" must point to array.')


def item_input(running: Running, item: dict[str, Any]) -> Any:
    """An item after ItemSelector, which sees it as `$states.context.Map.Item` (dg/input-output-itemselector.html)."""
    selector = running.state.get("ItemSelector", running.state.get("Parameters"))
    if selector is None:
        return item["Value"]
    context = {**running.frame.context, "Map": {"Item": item}}
    if running.jsonata:
        return running.evaluation(context).template(selector, "ItemSelector")
    return Paths(context, running.frame.variables).template(selector, running.effective_input())


def whole_number(running: Running, field: str, default: int = 0) -> int:
    """The value of a field such as MaxConcurrency (recording: max_concurrency.json).

    Raises:
        StateError: States.Runtime, or States.QueryEvaluationError for an expression.
    """
    value = running.field(field, "number", default)
    try:
        if isinstance(value, (bool, dict, list)) or float(value) != int(float(value)):
            raise ValueError
        return int(float(value))
    except (TypeError, ValueError):
        path = running.state.get(f"{field}Path")
        shown = value if isinstance(value, str) else to_json(value)
        if path is not None:
            raise StateError(
                "States.Runtime",
                f'The {field}Path field refers to value "{shown}" which is not a valid integer: {path}',
            ) from None
        raise QueryEvaluationError(f"{field} is not a valid integer: {shown}", field) from None


def _run_inline_map(running: Running, processor: State) -> Outcome:
    items = map_items(running)
    concurrency = whole_number(running, "MaxConcurrency") or INLINE_CONCURRENCY
    execution, name = running.frame.execution, running.frame.context["State"]["Name"]
    execution.add_event("MapStateStarted", mapStateStartedEventDetails={"length": len(items)})

    def iterate(index: int, control: Control) -> Any:
        details = {"name": name, "index": index}
        if running.frame.parts.get(index, NOT_BEGUN).ended:
            return running.frame.parts[index].result
        execution.add_event("MapIterationStarted", mapIterationStartedEventDetails=details)
        item = {"Index": index, "Value": items[index]}
        data = item_input(running, item)
        try:
            result = _run_part(running.frame, index, control, processor, data, Map={"Item": item})
        except StateError:
            execution.add_event("MapIterationFailed", mapIterationFailedEventDetails=details)
            raise
        except StoppedError:
            execution.add_event("MapIterationAborted", mapIterationAbortedEventDetails=details)
            raise
        execution.add_event("MapIterationSucceeded", mapIterationSucceededEventDetails=details)
        return result

    results = _side_by_side(running.frame, len(items), min(concurrency, INLINE_CONCURRENCY), iterate)
    execution.add_event("MapStateSucceeded")
    return running.finish(results, is_result=True)


def _run_part(frame: Frame, index: int, control: Control, part: State, data: Any, **context: Any) -> Any:
    """The result of a branch or an iteration. One that ended before a redrive does not run again.

    dg/redrive-executions.html
    """
    known = frame.parts.get(index, NOT_BEGUN)
    if known.ended:
        return known.result
    if known.frame is None or known.frame.reached is None:
        inner = frame.inner(control, **context)
        known = frame.parts[index] = Part(inner)
        result = run_states(inner, part["States"], part["StartAt"], data)
    else:
        name, reached = known.frame.reached
        known.frame = known.frame.redriven(control, frame.context["Execution"])
        result = run_states(known.frame, part["States"], name, reached, redriven=True)
    known.result, known.ended = result, True
    return result


def _side_by_side(frame: Frame, count: int, concurrency: int, run: Callable[[int, Control], Any]) -> list[Any]:
    """Results of `run(0..count-1)`, up to `concurrency` at a time. The first error stops the rest."""
    results: list[Any] = [None] * count
    errors: list[BaseException] = []
    remaining = iter(range(count))

    with frame.control.branch() as part:

        def work() -> None:
            for index in remaining:
                if errors:
                    return
                try:
                    with part.branch() as control:
                        results[index] = run(index, control)
                except BaseException as error:
                    errors.append(error)
                    part.stop()
                    return

        jobs = [THREADS.submit(work) for _ in range(min(concurrency, count) - 1)]
        work()
        for job in jobs:
            job.result()
    if errors:
        frame.control.check()
        raise errors[0]
    return results


MAP_MODES: dict[str, Callable[[Running, State], Outcome]] = {"INLINE": _run_inline_map}
"""How a map runs, by mode. The distributed mode is added from outside, because its children are executions."""

STATES: dict[str, Callable[[Running], Outcome]] = {
    "Choice": run_choice,
    "Fail": run_fail,
    "Map": run_map,
    "Parallel": run_parallel,
    "Pass": run_pass,
    "Succeed": run_succeed,
    "Task": run_task,
    "Wait": run_wait,
}
