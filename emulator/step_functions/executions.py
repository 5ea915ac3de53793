"""Starts, runs, stops and describes executions (API_StartExecution and related operations)."""

import copy
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response, new_uuid, now_iso
from ministack.services import stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions import definitions
from emulator.step_functions.execution_log import ExecutionLog
from emulator.step_functions.limits import MAX_EXECUTION_NAME, MAX_HISTORY_EVENTS, to_json, too_large
from emulator.step_functions.quotas import may_start
from emulator.step_functions.roles import Role
from emulator.step_functions.states import Frame, run_states
from emulator.step_functions.threads import THREADS, Control, Job, MachineTimedOutError, StoppedError

logger = logging.getLogger("states")

EXPRESS_SECONDS = 300.0
NESTED_HISTORIES_KEPT = 1_000
REDRIVABLE_KEPT = 200
STOPPING_SECONDS = 20.0
"""The time that a redrive waits for unfinished work of a stopped execution."""
THROTTLED = "ThrottlingException"
FORBIDDEN_IN_NAMES = frozenset(' <>{}[]?*"#%\\^|~`$&,;:/')

Response = tuple[int, dict[str, str], bytes]
Handler = Callable[[dict[str, Any]], Response]
RequestHandler = Callable[[str, str, dict[str, str], bytes, dict[str, Any]], Awaitable[Response]]


class ApiError(Exception):
    """Raised when the API refuses a request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Execution:
    """A running or ended execution. `record` is what MiniStack's API handlers read."""

    def __init__(
        self,
        arn: str,
        machine_arn: str,
        name: str,
        text: str,
        *,
        role: Role,
        definition: dict[str, Any],
        express: bool,
        log: ExecutionLog,
        sync: bool = False,
    ) -> None:
        self.arn = arn
        self.role = role
        self.definition = definition
        self.express = express
        self.sync = sync
        self.log = log
        self.machine_arn = machine_arn
        self.region = arn.split(":")[3]
        self.control = self._new_control()
        self._frame: Frame | None = None
        self._run_number = 0
        self.job: Job | None = None
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self.record: dict[str, Any] = {
            "executionArn": arn,
            "stateMachineArn": machine_arn,
            "name": name,
            "status": "RUNNING",
            "startDate": now_iso(),
            "stopDate": None,
            "input": text,
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "events": [],
        }
        self.add_event(
            "ExecutionStarted",
            executionStartedEventDetails={"input": text, "inputDetails": {"truncated": False}, "roleArn": role.arn},
        )

    def add_event(self, kind: str, **details: Any) -> int:
        """Add an event to the history and return its number.

        Raises:
            StateError: States.Runtime when the history is full (dg/bp-history-limit.html).
        """
        with self._lock:
            events = self.record["events"]
            number = len(events) + 1
            if number >= MAX_HISTORY_EVENTS and not kind.startswith("Execution"):
                raise StateError("States.Runtime", f"The history reached its limit of {MAX_HISTORY_EVENTS} events.")
            event = {"id": number, "previousEventId": number - 1, "type": kind, "timestamp": now_iso(), **details}
            events.append(event)
        self.log.write(self.arn, event, self.record.get("redriveCount", 0))
        return number

    def _new_control(self) -> Control:
        timeout = self.definition.get("TimeoutSeconds")
        if self.express:
            timeout = min(timeout or EXPRESS_SECONDS, EXPRESS_SECONDS)
        return Control(None if timeout is None else time.monotonic() + float(timeout))

    def run(self, data: Any) -> None:
        """Run to the end. The record then has the result."""
        language = self.definition.get("QueryLanguage", "JSONPath")
        self._frame = Frame(self, self.control, self.context(data), {}, language)
        self._run_from(self._frame, self.definition["StartAt"], data, 0)

    def resume(self) -> Callable[[], None]:
        """Set RUNNING again, and return how to continue at the failed state (API_RedriveExecution).

        Raises:
            ApiError: ExecutionNotRedrivable.
        """
        frame = self._frame
        if frame is None or frame.reached is None or not self.ended.is_set():
            raise ApiError("ExecutionNotRedrivable", f"Execution is not redrivable: '{self.arn}'")
        name, data = frame.reached
        if frame.map_run is not None and not frame.map_run.redrivable:
            raise ApiError("ExecutionNotRedrivable", f"The local AWS has forgotten failed children of '{name}'")
        count, moment = self.record.get("redriveCount", 0) + 1, now_iso()
        self.control = self._new_control()
        redriven = {**frame.context["Execution"], "RedriveCount": count, "RedriveTime": moment}
        self._frame = frame = frame.redriven(self.control, redriven)
        self._run_number += 1
        number = self._run_number
        self.ended.clear()
        self.record.update(
            status="RUNNING", stopDate=None, error=None, cause=None, redriveCount=count, redriveDate=moment
        )
        self.add_event("ExecutionRedriven", executionRedrivenEventDetails={"redriveCount": count})
        return lambda: self._run_from(frame, name, data, number)

    def _run_from(self, frame: Frame, state: str, data: Any, number: int) -> None:
        try:
            output = to_json(run_states(frame, self.definition["States"], state, data, redriven=number > 0))
        except StateError as error:
            self.end("FAILED", number, error=error.error, cause=error.cause)
        except MachineTimedOutError:
            self.end("TIMED_OUT", number)
        except StoppedError:
            self.end("ABORTED", number)
        except Exception as error:
            logger.exception("Execution %s broke", self.arn)
            self.end("FAILED", number, error="States.Runtime", cause=f"The local AWS failed: {error!r}")
        else:
            self.end("SUCCEEDED", number, output=output)

    def context(self, data: Any) -> dict[str, Any]:
        """The context object (dg/input-output-contextobject.html).

        A synchronous Express execution has no RedriveCount (recording: express_2.json).
        """
        redrives = {} if self.sync else {"RedriveCount": 0}
        return {
            "Execution": {
                "Id": self.arn,
                "Input": data,
                "Name": self.record["name"],
                "RoleArn": self.role.arn,
                "StartTime": self.record["startDate"],
                **redrives,
            },
            "StateMachine": {"Id": self.machine_arn, "Name": self.machine_arn.split(":")[6]},
        }

    def end(
        self,
        status: str,
        number: int | None = None,
        *,
        output: str | None = None,
        error: str | None = None,
        cause: str | None = None,
    ) -> bool:
        """Set a final status once. False if it is final already, or if run `number` is no longer the current run."""
        with self._lock:
            if self.record["status"] != "RUNNING" or number not in (None, self._run_number):
                return False
            self.record.update(status=status, stopDate=now_iso(), output=output, error=error, cause=cause or None)
        details = {
            key: value
            for key, value in {"output": output, "error": error, "cause": cause or None}.items()
            if value is not None
        }
        kind = f"Execution{''.join(part.capitalize() for part in status.split('_'))}"
        self.add_event(kind, **{f"e{kind[1:]}EventDetails": details})
        self.ended.set()
        self.publish_status()
        return True

    def stop(self, error: str | None, cause: str | None) -> None:
        """API_StopExecution: set ABORTED at once, and signal everything that runs for it to end."""
        self.end("ABORTED", error=error, cause=cause)
        self.control.stop()

    def publish_status(self) -> None:
        """Publish the event of the end (dg/eventbridge-integration.html); Standard executions only."""
        if not self.express:
            stepfunctions._emit_execution_status_event(self.record)

    def describe(self) -> dict[str, Any]:
        return describe_record(self.record)


class MapChild(Execution):
    """A child of a map run. It reports its end to the map run and publishes no events."""

    def __init__(self, *identity: str, on_end: Callable[["MapChild"], None], **options: Any) -> None:
        super().__init__(*identity, **options)
        self._on_end = on_end

    def publish_status(self) -> None:
        self._on_end(self)


_running: dict[str, Execution] = {}
_redrivable: dict[str, Execution] = {}
_running_lock = threading.Lock()
_nested: deque[dict[str, Any]] = deque()


def describe_record(record: dict[str, Any]) -> dict[str, Any]:
    """API_DescribeExecution (recording: map_run_and_execution_api.json)."""
    status = record["status"]
    described = {
        key: record.get(key)
        for key in (
            "executionArn",
            "stateMachineArn",
            "stateMachineVersionArn",
            "name",
            "status",
            "startDate",
            "stopDate",
            "input",
            "inputDetails",
            "mapRunArn",
            "error",
            "cause",
            "output",
        )
    }
    if record.get("output") is not None:
        described["outputDetails"] = record["outputDetails"]
    described["redriveCount"] = record.get("redriveCount", 0)
    described["redriveDate"] = record.get("redriveDate")
    redrivable = status in ("FAILED", "TIMED_OUT", "ABORTED")
    described["redriveStatus"] = "REDRIVABLE" if redrivable else "NOT_REDRIVABLE"
    if not redrivable:
        described["redriveStatusReason"] = f"Execution is {status} and cannot be redriven"
    return {key: value for key, value in described.items() if value is not None}


def _machine(reference: str) -> tuple[dict[str, Any], str, str | None]:
    """The machine of a machine, version or alias ARN: its definition, its ARN and the version's ARN.

    Raises:
        ApiError: StateMachineDoesNotExist.
    """
    machine_arn = stepfunctions._resolve_state_machine_arn(reference)
    if machine_arn is None:
        raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{reference}'")
    version_arn = stepfunctions._execution_version_arn(reference)
    version = stepfunctions._state_machine_versions.get(version_arn) if version_arn else None
    machine = stepfunctions._state_machines[machine_arn]
    return {**machine, **(version or {})}, machine_arn, version_arn if version else None


def _parse_input(text: str) -> Any:
    if too_large(text):
        raise ApiError(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            "Member must have length less than or equal to 262144",
        )
    try:
        return json.loads(text)
    except ValueError:
        raise ApiError("InvalidExecutionInput", "Invalid State Machine Execution Input: 'not valid JSON'") from None


def _new(reference: str, name: str | None, text: str, *, sync: bool = False) -> tuple[Execution, Any]:
    machine, machine_arn, version_arn = _machine(reference)
    data = _parse_input(text)
    express = machine.get("type") == "EXPRESS"
    if sync and not express:
        raise ApiError("StateMachineTypeNotSupported", "This operation is not supported by this type of state machine")
    name = name or new_uuid()
    if not 0 < len(name) <= MAX_EXECUTION_NAME or set(name) & FORBIDDEN_IN_NAMES:
        raise ApiError("InvalidName", f"Invalid Name: '{name}'")
    machine_name = machine_arn.split(":")[6]
    scope = f"arn:aws:states:{get_region()}:{get_account_id()}"
    arn = (
        f"{scope}:express:{machine_name}:{name}:{new_uuid()}" if express else f"{scope}:execution:{machine_name}:{name}"
    )
    execution = Execution(
        arn,
        machine_arn,
        name,
        text,
        role=Role(machine["roleArn"], machine_arn),
        definition=json.loads(machine["definition"]),
        express=express,
        log=ExecutionLog(machine.get("loggingConfiguration") or {}, machine_name),
        sync=sync,
    )
    if version_arn:
        execution.record["stateMachineVersionArn"] = version_arn
    execution.record["encryptionConfiguration"] = copy.deepcopy(
        machine.get("encryptionConfiguration") or stepfunctions._default_encryption()
    )
    return execution, data


def start(reference: str, name: str | None, text: str, *, nested: bool = False) -> Execution:
    """API_StartExecution. The same name with the same input is idempotent while it runs.

    Recording: start_execution.json.

    Raises:
        ApiError: what AWS refuses.
    """
    if not may_start(get_account_id(), get_region()):
        raise ApiError(THROTTLED, "Rate exceeded")
    execution, data = _new(reference, name, text)
    with _running_lock:
        existing = stepfunctions._executions.get(execution.arn)
        if existing is not None:
            known = _running.get(execution.arn)
            if known is not None and existing["status"] == "RUNNING" and existing["input"] == text:
                return known
            raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{execution.arn}'")
        stepfunctions._executions[execution.arn] = execution.record
        _running[execution.arn] = execution
        if nested:
            _trim_nested(execution.record)

    _run_in_background(execution, lambda: execution.run(data))
    return execution


def _run_in_background(execution: Execution, run: Callable[[], None]) -> None:
    # Copied before the thread begins: an execution that is stopped first has published its end already.
    begun = dict(execution.record)

    def work() -> None:
        try:
            if not execution.express:
                stepfunctions._emit_execution_status_event(begun)
            run()
        finally:
            with _running_lock:
                _running.pop(execution.arn, None)
                if execution.record["status"] != "SUCCEEDED" and not execution.express:
                    _redrivable[execution.arn] = execution
                    while len(_redrivable) > REDRIVABLE_KEPT:
                        del _redrivable[next(iter(_redrivable))]

    execution.job = THREADS.submit(work)


def redrive(arn: str) -> str:
    """API_RedriveExecution: continue at the failed state, with the original definition. Returns the time.

    Raises:
        ApiError: ExecutionDoesNotExist or ExecutionNotRedrivable.
    """
    if stepfunctions._executions.get(arn) is None:
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    with _running_lock:
        stopped = _running.get(arn)
    if stopped is not None and stopped.ended.is_set() and stopped.job is not None:
        stopped.job.wait(STOPPING_SECONDS)
    with _running_lock:
        execution = _redrivable.get(arn)
        if execution is None:
            raise ApiError("ExecutionNotRedrivable", f"Execution is not redrivable: '{arn}'")
        go_on = execution.resume()
        del _redrivable[arn]
        _running[arn] = execution
    _run_in_background(execution, go_on)
    return str(execution.record["redriveDate"])


def _trim_nested(record: dict[str, Any]) -> None:
    """Keep only the histories of the last nested executions, because one machine can start very many."""
    _nested.append(record)
    while len(_nested) > NESTED_HISTORIES_KEPT and _nested[0]["status"] != "RUNNING":
        _nested.popleft()["events"].clear()


def run_sync(reference: str, name: str | None, text: str) -> dict[str, Any]:
    """API_StartSyncExecution: run an Express machine to its end (recording: express.json).

    Raises:
        ApiError: what AWS refuses.
    """
    execution, data = _new(reference, name, text, sync=True)
    started = time.monotonic()
    execution.run(data)
    answer = {
        key: value
        for key, value in execution.describe().items()
        if not key.startswith("redrive") and key != "stateMachineVersionArn"
    }
    billed = max(100, -(-int((time.monotonic() - started) * 1000) // 100) * 100)
    answer["outputDetails"] = {"included": True}
    answer["billingDetails"] = {"billedDurationInMilliseconds": billed, "billedMemoryUsedInMB": 64}
    return answer


def register(execution: Execution) -> None:
    """Make a child of a map run visible to the API while it runs."""
    stepfunctions._executions[execution.arn] = execution.record
    with _running_lock:
        _running[execution.arn] = execution


def unregister(execution: Execution) -> None:
    with _running_lock:
        _running.pop(execution.arn, None)


def describe(arn: str) -> dict[str, Any]:
    record = stepfunctions._executions.get(arn)
    if record is None:
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    return describe_record(record)


def stop(arn: str, error: str | None, cause: str | None) -> str:
    """API_StopExecution: returns the time of the stop. Stopping an ended execution changes nothing.

    Raises:
        ApiError: ExecutionDoesNotExist.
    """
    record = stepfunctions._executions.get(arn)
    if record is None:
        raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
    with _running_lock:
        execution = _running.get(arn)
    if execution is not None:
        execution.stop(error, cause)
    return str(record["stopDate"])


# --- API handlers, under the names that MiniStack looks up


def answering(operation: Callable[[dict[str, Any]], dict[str, Any]]) -> Handler:
    """A handler that answers with the operation's result or AWS's error."""

    def handler(data: dict[str, Any]) -> Response:
        try:
            response: Response = json_response(operation(data))
        except ApiError as error:
            response = error_response_json(error.code, error.message, 400)
        return response

    return handler


def api_start_execution(data: dict[str, Any]) -> dict[str, Any]:
    execution = start(data.get("stateMachineArn", ""), data.get("name"), data.get("input", "{}"))
    return {"executionArn": execution.arn, "startDate": execution.record["startDate"]}


def api_start_sync_execution(data: dict[str, Any]) -> dict[str, Any]:
    return run_sync(data.get("stateMachineArn", ""), data.get("name"), data.get("input", "{}"))


def api_stop_execution(data: dict[str, Any]) -> dict[str, Any]:
    return {"stopDate": stop(data.get("executionArn", ""), data.get("error"), data.get("cause"))}


def api_describe_execution(data: dict[str, Any]) -> dict[str, Any]:
    return describe(data.get("executionArn", ""))


def api_redrive_execution(data: dict[str, Any]) -> dict[str, Any]:
    return {"redriveDate": redrive(data.get("executionArn", ""))}


def with_redrive(handle_request: RequestHandler) -> RequestHandler:
    """MiniStack's entry point, extended with RedriveExecution."""
    redriving = answering(api_redrive_execution)

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Response:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            response: Response = stepfunctions._finalize_response(redriving(json.loads(body)))
            return response
        return await handle_request(method, path, headers, body, query)

    return handle


def refusing_definitions(handler: Handler) -> Handler:
    """A create or update handler that refuses what `definitions` finds."""

    def checked(data: dict[str, Any]) -> Response:
        machine = stepfunctions._state_machines.get(data.get("stateMachineArn", ""), {})
        problem = definitions.problem(data.get("definition"), data.get("type") or machine.get("type", "STANDARD"))
        if problem is None:
            return handler(data)
        refusal: Response = error_response_json(
            "InvalidDefinition", f"Invalid State Machine Definition: '{problem}'", 400
        )
        return refusal

    return checked


def refusing_outputs(handler: Handler) -> Handler:
    """SendTaskSuccess, which refuses an output that is not JSON, or too long.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html
    """

    def checked(data: dict[str, Any]) -> Response:
        output = data.get("output")
        try:
            json.loads(output if isinstance(output, str) else "")
            is_valid = len(str(output)) <= 262_144
        except ValueError:
            is_valid = False
        refusal: Response = error_response_json(
            "InvalidOutput", "Invalid Output: it must be JSON of up to 256 KiB", 400
        )
        return handler(data) if is_valid else refusal

    return checked


def install() -> None:
    """Replace MiniStack's engine and the handlers that start, stop, redrive and describe executions."""
    if getattr(stepfunctions, "_replaced_engine", False):
        return
    stepfunctions._replaced_engine = True
    stepfunctions._send_task_success = refusing_outputs(stepfunctions._send_task_success)
    stepfunctions._create_state_machine = refusing_definitions(stepfunctions._create_state_machine)
    stepfunctions._update_state_machine = refusing_definitions(stepfunctions._update_state_machine)
    stepfunctions._start_execution = answering(api_start_execution)
    stepfunctions._start_sync_execution = answering(api_start_sync_execution)
    stepfunctions._stop_execution = answering(api_stop_execution)
    stepfunctions._describe_execution = answering(api_describe_execution)
    stepfunctions.handle_request = with_redrive(stepfunctions.handle_request)
