"""The state machine against the messages, the errors and the functions it names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation import errors
from row_batches.run.agent_messages import AgentCall, MapOutputRequest, MapRowsRequest, MapRowsResponse
from row_batches.run.delivery import MOST_TRIES
from row_batches.run.end_messages import AggregateRequest, AggregateResponse, EndedRun
from row_batches.run.input_messages import ExecutionReference, ValidateRequest, ValidateResponse
from row_batches.run.messages import BatchReference, ChildInput
from row_batches.run.tool_messages import ToolRowsRequest, ToolRowsResponse
from row_batches.targets.kind import Processor
from tests.support import state_machine

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = state_machine.composed()
MACHINE: dict[str, Any] = json.loads(TEXT)
FUNCTIONS = {"validate_input", "process_tool_rows", "map_input", "map_output", "aggregate_results"}
AWS_ERRORS = re.compile(r"^(States|Lambda|Runtime|Sandbox|StepFunctions|Sfn|S3)\.[A-Za-z]+$")


FINISHING: dict[str, Any] = json.loads(state_machine.composed("batch_processor_finish"))


def states(machine: dict[str, Any] = MACHINE) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])
        for branch in state.get("Branches", []):
            yield from states(branch)


ALL = dict(states())
FINISHING_STATES = dict(states(FINISHING))
TASKS = {name: state for name, state in (ALL | FINISHING_STATES).items() if state["Type"] == "Task"}


def longest_wait(retrier: dict[str, Any]) -> float:
    """Seconds of all pauses of a retrier, without jitter."""
    first, rate, most = retrier["IntervalSeconds"], retrier["BackoffRate"], retrier["MaxDelaySeconds"]
    return float(sum(min(first * rate**attempt, most) for attempt in range(retrier["MaxAttempts"])))


def test_every_state_name_is_used_once() -> None:
    assert len(ALL) == len(list(states()))
    assert not ALL.keys() & FINISHING_STATES.keys()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_time_out_a_comment_and_retries_that_back_off(name: str) -> None:
    task = TASKS[name]
    assert task["TimeoutSeconds"]
    assert task["Comment"]
    for retrier in task.get("Retry", []):
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["MaxDelaySeconds"]
        if "Lambda.AWSLambdaException" in retrier["ErrorEquals"]:  # a denied permission is one, too
            assert longest_wait(retrier) < 15, "a fault of the deployment must show within a minute"
        assert "States.ALL" not in retrier["ErrorEquals"]
    if "Retry" not in task:
        assert name.removesuffix("Inline") == "InvokeAgent", "its retries are decided by MapOutput"


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task["Resource"].endswith("lambda:invoke")])
def test_functions_without_concurrency_left_are_waited_for(name: str) -> None:
    # Rows that give up go through one second pass only: an account of 10 or 1,000 must not cost any.
    (retrier,) = [rule for rule in TASKS[name]["Retry"] if "Lambda.TooManyRequestsException" in rule["ErrorEquals"]]
    assert longest_wait(retrier) / 2 > 900, "full jitter halves them"


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task["Resource"].endswith("lambda:invoke")])
def test_functions_that_are_being_woken_are_waited_for(name: str) -> None:
    waking = "Lambda.CodeArtifactUserPendingException"
    (retrier,) = [rule for rule in TASKS[name]["Retry"] if waking in rule["ErrorEquals"]]
    # Seen to take up to two minutes.
    assert longest_wait(retrier) / 2 > 240, "full jitter halves them"


@pytest.mark.parametrize("name", [name for name, state in ALL.items() if "ItemReader" in state])
def test_maps_tolerate_failed_children_are_labelled_and_never_retried(name: str) -> None:
    state = ALL[name]
    assert state["ToleratedFailurePercentage"] == 100
    assert state["Label"] == name
    assert "Retry" not in state
    assert state["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert "VersionId" in state["ItemReader"]["Arguments"]


def test_every_error_name_is_a_class_of_ours_or_a_name_of_aws() -> None:
    named = {
        error
        for state in [*ALL.values(), *FINISHING_STATES.values()]
        for rule in [*state.get("Retry", []), *state.get("Catch", [])]
        for error in rule["ErrorEquals"]
    }
    raised_here = {state["Error"] for state in ALL.values() if state["Type"] == "Fail"}
    for error in named - raised_here:
        assert AWS_ERRORS.match(error) or issubclass(getattr(errors, error), errors.BatchProcessorError)


def test_the_rows_of_a_child_run_one_after_the_other_and_the_brake_ends_the_child_alone() -> None:
    rows = ALL["RunRows"]
    assert rows["MaxConcurrency"] == 1, "as many rows in flight as children"
    assert rows["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
    assert "Retry" not in rows
    braked = [state for state in ALL.values() if state.get("Error") == "NoFurtherRow"]
    assert [state["Type"] for state in braked] == ["Fail", "Fail"], "of children and of inline children"
    (rule,) = rows["Catch"]
    assert (rule["ErrorEquals"], rule["Next"], ALL["AgentRowsDone"]["Type"]) == (
        ["NoFurtherRow"],
        "AgentRowsDone",
        "Succeed",
    )
    # An undefined Output is States.QueryEvaluationError (dg/transforming-data).
    assert TASKS["MapOutput"]["Output"] == "{% $states.result.Payload[stop = false] %}"
    assert TASKS["MapOutput"]["Catch"][0]["ErrorEquals"] == ["States.QueryEvaluationError"]


def test_an_ordinary_row_takes_two_states() -> None:
    assert ALL["RunRows"]["ItemProcessor"]["StartAt"] == "InvokeAgent"
    assert TASKS["InvokeAgent"]["Next"] == "MapOutput"
    assert TASKS["MapOutput"]["End"]


def test_no_row_takes_its_siblings_down() -> None:
    for name in ("InvokeAgent", "LookUpExecution", "StopAgent", "MapOutput", "RecordFailure"):
        caught = [error for rule in TASKS[name]["Catch"] for error in rule["ErrorEquals"]]
        assert caught[-1] == "States.ALL", name


def test_an_inline_child_is_a_child_of_the_map_and_its_failure_does_not_stop_the_others() -> None:
    def without_suffix(states: dict[str, Any]) -> Any:
        return json.loads(re.sub(r'"(\w+)Inline"', r'"\1"', json.dumps(states)))

    inline = ALL["ProcessAgentRowsInline"]["ItemProcessor"]
    assert inline["ProcessorConfig"] == {"Mode": "INLINE"}
    child = inline["States"]["RunAgentRows"]
    assert [child["Type"], child["Catch"][-1]["ErrorEquals"]] == ["Parallel", ["States.ALL"]]
    assert "States.DataLimitExceeded" in child["Catch"][0]["ErrorEquals"], "States.ALL does not include it"
    (branch,) = child["Branches"]
    assert without_suffix(branch["States"]) == ALL["ProcessAgentRows"]["ItemProcessor"]["States"]


def test_the_source_is_valid_json_and_every_part_is_used() -> None:
    sources = [*state_machine.SOURCES.values(), state_machine.AGENT_ROWS]
    source = json.dumps([json.loads(source) for source in sources])
    placeholders = set(re.findall(r"\$\{(\w+)\}", source))
    assert set(state_machine.PARTS) <= placeholders, "a part that no state uses"
    wrong = "is no whole string: parts replace strings that hold nothing else"
    for name in state_machine.PARTS:
        assert source.count(f"${{{name}}}") == source.count(f'"${{{name}}}"'), f"{name} {wrong}"


def test_an_agent_that_runs_at_the_end_of_its_rows_time_is_stopped_before_its_permit_is_given_back() -> None:
    still_running = [choice["Next"] for choice in ALL["ChooseLookedUp"]["Choices"]]
    assert still_running == ["RowDone", "WaitForExecution", "StopAgent"]
    stop = TASKS["StopAgent"]
    assert stop["Arguments"]["ExecutionArn"] == TASKS["LookUpExecution"]["Arguments"]["ExecutionArn"]
    assert stop["Output"] == stop["Catch"][-1]["Output"], "the row's end is the same, whether it can be stopped or not"
    assert stop["Next"] == "RecordFailure"


def test_what_several_states_have_is_written_once() -> None:
    machines = {source: json.loads(source) for source in state_machine.SOURCES.values()}
    machines[state_machine.AGENT_ROWS] = {"States": json.loads(state_machine.AGENT_ROWS)}
    for source, machine in machines.items():
        without = re.sub(r'"\$\{agent_rows\w*\}"', "{}", json.dumps(machine))
        for name, state in states(json.loads(without)):
            for retrier in state.get("Retry", []):
                assert isinstance(retrier, str), f"{name}: a retrier belongs into parts.json"
        assert "errorMessage" not in source, "the expression of a cause is ${cause}"


def test_every_kill_is_listed_where_kills_are_retried() -> None:
    killed = {"Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Timedout", "Lambda.Unknown", "States.Timeout"}
    assert set(state_machine.PARTS["retry_killed"]["ErrorEquals"]) == killed
    assert set(state_machine.PARTS["retry_killed_question"]["ErrorEquals"]) == killed - {"States.Timeout"}


def test_an_outage_of_a_users_bucket_is_given_up_before_the_calls_are() -> None:
    retrier = state_machine.PARTS["retry_faults"]
    assert {"ThrottledError", "ServiceUnavailableError"} <= set(retrier["ErrorEquals"])
    repeats = MOST_TRIES - 1
    assert repeats < retrier["MaxAttempts"], "at least one is left for another fault"


NOT_CALLED_AGAIN_AFTER_A_KILL = {
    "ProcessRows": "the killed call keeps its lease, and the rows are found missing after the map",
    "ProcessRowsInline": "as ProcessRows",
    "Announce": "the killed call can have sent the message",
    "AnnounceWithoutOutput": "as Announce",
}


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if "lambda:invoke" in task["Resource"]])
def test_every_call_of_a_function_is_retried_by_the_same_rules(name: str) -> None:
    rules = {rule for rule, part in state_machine.PARTS.items() if part in TASKS[name]["Retry"]}
    always = {"retry_faults", "retry_passing_or_denied", "retry_woken", "retry_no_concurrency"}
    killed = "retry_killed_question" if name == "WaitForApproval" else "retry_killed"
    expected = always if name in NOT_CALLED_AGAIN_AFTER_A_KILL else always | {killed}
    assert rules == expected, f"{name} lacks {expected - rules}, or has {rules - expected} too much"


def test_no_inner_state_assigns_a_variable_of_the_machine_itself() -> None:
    """https://docs.aws.amazon.com/step-functions/latest/dg/workflow-variables.html: inner scopes need names of their
    own. Whether that holds for distributed maps, which see no outer variable, is not documented."""
    outer = {name for state in MACHINE["States"].values() for name in assigned(state)}
    inner = {name for key, state in ALL.items() if key not in MACHINE["States"] for name in assigned(state)}
    assert outer & inner == set()


def assigned(state: dict[str, Any]) -> set[str]:
    """The variables that a state assigns, also where it catches an error."""
    parts = [state, *state.get("Catch", []), *state.get("Choices", [])]
    return {name for part in parts if isinstance(part, dict) for name in part.get("Assign", {})}


def test_ten_inline_rows_take_six_states_and_three_calls() -> None:
    path, name = ["ValidateInput", "ChooseProcessor"], "ProcessRowsInline"
    assert name in [choice["Next"] for choice in ALL["ChooseProcessor"]["Choices"]]
    while True:
        path.append(name)
        state = ALL[name]
        if state["Type"] == "Succeed":
            break
        name = state.get("Next") or state["Default"]
    assert len(path) == 6
    assert len([name for name in path if name in TASKS]) == 3


def test_an_input_that_is_not_staged_is_staged_on_with_the_same_document() -> None:
    validate, choose = ALL["ValidateInput"], ALL["ChooseProcessor"]

    assert validate["Next"] == "ChooseProcessor"
    assert validate["Output"]["staged"] == "{% $states.result.Payload.done %}"
    assert choose["Choices"][0] == {"Condition": "{% $states.input.staged = false %}", "Next": "ValidateInput"}
    # The state's own input is its answer the second time.
    assert validate["Arguments"]["Payload"]["input"] == "{% $states.context.Execution.Input %}"
    assert MACHINE["QueryLanguage"] == "JSONata"


def test_every_function_is_called_through_its_template_variable() -> None:
    def called(found: dict[str, dict[str, Any]]) -> set[str]:
        return {
            state["Arguments"]["FunctionName"]
            for state in found.values()
            if str(state.get("Resource", "")).endswith("lambda:invoke")
        }

    assert called(ALL) == {f"${{{name}_arn}}" for name in FUNCTIONS}
    assert called(FINISHING_STATES) == {"${aggregate_results_arn}", "${notify_arn}"}


def test_template_variables_stand_in_strings_and_jsonata_holds_none() -> None:
    for expression in re.findall(r"\{%.*?%\}", TEXT):
        assert "${" not in expression
        assert expression.startswith("{% ")
        assert expression.endswith(" %}")


OF_TRIALS = ("token", "seconds", "approved")
"""Fields of ``AggregateRequest`` for the steps of a trial."""


def _payload(name: str) -> Any:
    return TASKS[name]["Arguments"]["Payload"]


def test_the_payloads_have_the_fields_of_the_messages() -> None:
    assert set(_payload("ValidateInput")) == set(ValidateRequest.model_fields)
    assert set(_payload("ValidateInput")["execution"]) == set(ExecutionReference.model_fields)
    assert set(_payload("FindMissing")) <= set(AggregateRequest.model_fields)
    assert set(_payload("AggregateResults")) == set(AggregateRequest.model_fields) - {"ended", *OF_TRIALS}
    assert set(_payload("PutTogether")) == set(AggregateRequest.model_fields) - {"manifests", *OF_TRIALS}
    asked = {name for step in ("StageTrial", "ReportTrial", "WaitForApproval", "TakeAnswer") for name in _payload(step)}
    assert asked == {"action", "plan_key", *OF_TRIALS}
    read = set(re.findall(r"Execution\.Input\.([a-z_]+)", json.dumps(FINISHING)))
    assert read <= set(EndedRun.model_fields)
    batch_input = set(BatchReference.model_fields)
    assert set(ALL["ProcessToolRows"]["ItemBatcher"]["BatchInput"]) == batch_input
    assert set(ALL["ProcessAgentRows"]["ItemBatcher"]["BatchInput"]) == batch_input
    child_input = set(ChildInput.model_fields)
    assert child_input == {"BatchInput", "Items"}, "as ItemBatcher gives them"
    assert set(re.findall(r"'(\w+)': \$", _payload("MapRows"))) == {"Child"}
    again = set(re.findall(r"'(\w+)': \$", ALL["WaitBeforeRound"]["Output"]))
    inline = set(ALL["ProcessAgentRowsInline"]["ItemSelector"])
    assert inline >= {*child_input, "Child"}
    assert inline | again == set(MapRowsRequest.model_fields)
    for name in ("MapOutput", "RecordFailure"):
        given = set(re.findall(r"'(\w+)': \$", _payload(name)))
        assert given | {"Result", "Description", "ErrorOutput"} == set(MapOutputRequest.model_fields)
    assert set(ToolRowsRequest.model_fields) == child_input


def test_the_answers_that_the_machine_reads_are_fields_of_the_messages() -> None:
    read = set(re.findall(r"\$states\.result\.Payload\.([a-z_.]+)", json.dumps(MACHINE["States"]["ValidateInput"])))
    for path in read:
        model: Any = ValidateResponse
        for part in path.split("."):
            model = model.model_fields[part].annotation
    rows = set(re.findall(r"\$states\.result\.Payload\.([a-z_.]+)", json.dumps(TASKS["MapRows"])))
    assert rows == set(MapRowsResponse.model_fields)
    calls = set(re.findall(r"(?:\$call|input\.call|again)\.([a-z_]+)", TEXT))
    assert calls <= set(AgentCall.model_fields)
    assert {"missing", "missing_input", "done", "come_again_in_seconds", "error", "document"} <= set(
        AggregateResponse.model_fields
    )
    assert {"remaining", "come_again_in_seconds"} <= set(ToolRowsResponse.model_fields)


def test_choices_use_the_values_of_the_enumerations() -> None:
    compared = set(re.findall(r"\$processor = '([A-Z]+)'", TEXT))
    assert compared == {*Processor} - {Processor.NONE}


def test_the_definition_passes_the_validator() -> None:
    validator = REPOSITORY / "tools" / "asl-validator" / "node_modules" / ".bin" / "asl-validator"
    if shutil.which("npm") is None or not validator.exists():
        pytest.skip("asl-validator needs npm: `make setup` installs it where npm exists")
    definitions = {name: state_machine.rendered(name) for name in state_machine.SOURCES}
    for path in sorted((REPOSITORY / "examples").glob("*/*/*.asl.json")):
        definitions[path.parent.name] = re.sub(
            r"\$\{\w+_arn\}",
            "arn:aws:lambda:us-east-1:000000000000:function:name:1",
            path.read_text().replace("${partition}", "aws"),
        )
    for name, definition in definitions.items():
        done = subprocess.run(
            [str(validator), "--json-definition", definition], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
