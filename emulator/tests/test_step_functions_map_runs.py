"""Map runs: children, counts, tolerated failures, result files, stopping, live changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.machines import Bucket, Machines, Run, State, client, csv_reader, distributed, jsonata, writer
from emulator.tests.resources import Gate, eventually, make_function

pytestmark = pytest.mark.local_aws

FAIL_THREE: dict[str, State] = {
    "Check": {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input = 3 or 3 in $states.input.Items %}", "Next": "Break"}],
        "Default": "Keep",
    },
    "Break": {"Type": "Fail", "Error": "RowError", "Cause": "{% 'three: ' & $string($states.input) %}"},
    "Keep": {"Type": "Pass", "End": True},
}
WAIT: dict[str, State] = {"Hold": {"Type": "Wait", "Seconds": "{% $states.input %}", "End": True}}


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


def unchecked(machines: Machines) -> Any:
    """A client that sends what the SDK itself would refuse."""
    return machines.aws.client("stepfunctions", config=Config(parameter_validation=False))


@pytest.fixture
def bucket(local_aws: LocalAws) -> Bucket:
    return Bucket(local_aws)


def counts(**expected: int) -> dict[str, int]:
    """Counts of a map run that ended."""
    zero = ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "resultsWritten")
    return dict.fromkeys(zero, 0) | {"failuresNotRedrivable": 0, "pendingRedrive": 0} | expected


def test_children_are_executions_of_the_machine_and_label(machines: Machines) -> None:
    """dg/state-map-distributed.html: Label; API_ListExecutions with mapRunArn; API_DescribeExecution"""
    run = machines.run(jsonata({"Map": distributed(Items="{% [1] %}", Label="rows")}))
    run.output()
    machine = run.describe()["stateMachineArn"]
    map_run = run.map_run()
    [child] = run.children()
    assert map_run["mapRunArn"].rpartition(":")[0] == machine.replace(":stateMachine:", ":mapRun:") + "/rows"
    assert child["stateMachineArn"] == f"{machine}/rows"
    assert child["executionArn"] == f"{machine.replace(':stateMachine:', ':execution:')}/rows:{child['name']}"
    described = client(machines.aws, "stepfunctions").describe_execution(executionArn=child["executionArn"])
    assert (described["status"], described["input"], described["output"]) == ("SUCCEEDED", "1", "1")
    assert described["mapRunArn"] == map_run["mapRunArn"]


def test_output_and_assign_of_a_map_see_its_result(machines: Machines) -> None:
    """dg/transforming-data.html: Output and Assign of a Map state"""
    state = distributed(
        Items="{% [1, 2] %}", Output="{% $sum($states.result) %}", Assign={"all": "{% $states.result %}"}
    )
    del state["End"]
    states = {"Map": {**state, "Next": "Show"}, "Show": {"Type": "Pass", "Output": ["{% $all %}"], "End": True}}
    run = machines.run(jsonata(states))
    assert run.output() == [[1, 2]]
    exited = next(event for event in run.events() if event["type"] == "MapStateExited")
    assert exited["stateExitedEventDetails"]["output"] == "3"


def test_the_history_tells_of_the_map_run(machines: Machines, bucket: Bucket) -> None:
    """API_HistoryEvent: MapRunStarted and MapRunSucceeded; recording: item_reader_csv.json for the length 0"""
    bucket.put("items.csv", "a\n1\n2\n")
    run = machines.run(jsonata({"Map": distributed(ItemReader=csv_reader("items.csv"))}), {"bucket": bucket.name})
    run.output()
    events = {event["type"]: event for event in run.events()}
    assert events["MapStateStarted"]["mapStateStartedEventDetails"]["length"] == 0
    assert events["MapRunStarted"]["mapRunStartedEventDetails"]["mapRunArn"] == run.map_run()["mapRunArn"]
    assert "MapRunSucceeded" in events


def test_a_map_run_counts_items_and_children(machines: Machines) -> None:
    """API_DescribeMapRun: all items of a failed batch are failed items"""
    state = distributed(
        FAIL_THREE, Items="{% [1..5] %}", ItemBatcher={"MaxItemsPerBatch": 2}, ToleratedFailurePercentage=100
    )
    run = machines.run(jsonata({"Map": state}))
    assert run.output() == [{"Items": [1, 2]}, {"Items": [5]}]
    described = run.map_run()
    assert described["itemCounts"] == counts(succeeded=3, failed=2, total=5, resultsWritten=5)
    assert described["executionCounts"] == counts(succeeded=2, failed=1, total=3, resultsWritten=3)


@pytest.mark.parametrize(
    ("tolerated", "status"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailurePercentage": "{% $states.input.most %}"}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 24}, "FAILED"),
        ({"ToleratedFailureCount": "{% 1 %}"}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 0}, "FAILED"),
        ({"ToleratedFailureCount": 0, "ToleratedFailurePercentage": 100}, "FAILED"),
    ],
)
def test_failures_are_tolerated_up_to_the_threshold(machines: Machines, tolerated: dict[str, Any], status: str) -> None:
    """dg/state-map-distributed.html: tolerated failure threshold, by percentage (25 of 100 here) or count"""
    run = machines.run(jsonata({"Map": distributed(FAIL_THREE, Items="{% [1..4] %}", **tolerated)}), {"most": 25})
    ended = run.ended()
    assert ended["status"] == status
    if status == "FAILED":
        assert ended["error"] == "States.ExceedToleratedFailureThreshold"
        assert ended["cause"] == "The specified tolerated failure threshold was exceeded"
        assert run.map_run()["status"] == "FAILED"


def test_a_map_catches_its_failed_run(machines: Machines) -> None:
    """dg/concepts-error-handling.html: Catch on a Map state"""
    state = distributed(
        FAIL_THREE,
        Items="{% [3] %}",
        Catch=[{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Done"}],
    )
    run = machines.run(jsonata({"Map": state, "Done": {"Type": "Succeed"}}))
    assert run.output() == "States.ExceedToleratedFailureThreshold"


def test_result_files_hold_the_children_and_the_state_names_the_manifest(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-resultwriter.html"""
    state = distributed(
        FAIL_THREE, Items="{% [1, 3] %}", Label="rows", ResultWriter=writer(), ToleratedFailurePercentage=100
    )
    run = machines.run(jsonata({"Map": state}), {"bucket": bucket.name})
    output = run.output()
    map_run_arn = run.map_run()["mapRunArn"]
    folder = f"results/{map_run_arn.rpartition(':')[2]}"
    assert output == {
        "MapRunArn": map_run_arn,
        "ResultWriterDetails": {"Bucket": bucket.name, "Key": f"{folder}/manifest.json"},
    }
    manifest = bucket.json(f"{folder}/manifest.json")
    succeeded, failed = bucket.text(f"{folder}/SUCCEEDED_0.json"), bucket.text(f"{folder}/FAILED_0.json")
    assert manifest == {
        "DestinationBucket": bucket.name,
        "MapRunArn": map_run_arn,
        "ResultFiles": {
            "FAILED": [{"Key": f"{folder}/FAILED_0.json", "Size": len(failed)}],
            "PENDING": [],
            "SUCCEEDED": [{"Key": f"{folder}/SUCCEEDED_0.json", "Size": len(succeeded)}],
        },
    }
    [good], [bad] = json.loads(succeeded), json.loads(failed)
    machine = run.describe()["stateMachineArn"]
    shared = {"InputDetails": {"Included": True}, "OutputDetails": {"Included": True}, "RedriveCount": 0}
    for record in (good, bad):
        assert record.items() >= {**shared, "StateMachineArn": f"{machine}/rows"}.items()
        assert record["ExecutionArn"].endswith(f"/rows:{record['Name']}")
        assert record["StartDate"] <= record["StopDate"]
    assert (
        good.items() >= {"Input": "1", "Output": "1", "Status": "SUCCEEDED", "RedriveStatus": "NOT_REDRIVABLE"}.items()
    )
    assert good["RedriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    assert bad.items() >= {"Input": "3", "Error": "RowError", "Cause": "three: 3", "Status": "FAILED"}.items()
    assert bad["RedriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    assert not {"Output", "RedriveStatusReason"} & set(bad)


def exported(machines: Machines, bucket: Bucket, **config: str) -> dict[str, list[str]]:
    """Texts of the result files of a run over 1 and 3, by kind."""
    state = distributed(
        {**FAIL_THREE, "Keep": {"Type": "Pass", "Output": ["{% $states.input %}", "x"], "End": True}},
        Items="{% [1, 3] %}",
        ResultWriter=writer(**config),
        ToleratedFailurePercentage=100,
    )
    key = machines.run(jsonata({"Map": state}), {"bucket": bucket.name}).output()["ResultWriterDetails"]["Key"]
    files = bucket.json(key)["ResultFiles"]
    return {kind: [bucket.text(file["Key"]) for file in listed] for kind, listed in files.items()}


def test_compact_results_are_outputs_alone_but_failures_keep_their_metadata(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-resultwriter.html: Transformation COMPACT"""
    files = exported(machines, bucket, Transformation="COMPACT", OutputType="JSON")
    assert json.loads(files["SUCCEEDED"][0]) == [[1, "x"]]
    assert json.loads(files["FAILED"][0])[0]["Error"] == "RowError"


def test_flattened_results_are_items_of_outputs_one_a_line(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-resultwriter.html: Transformation FLATTEN, OutputType JSONL"""
    files = exported(machines, bucket, Transformation="FLATTEN", OutputType="JSONL")
    assert files["SUCCEEDED"][0].splitlines() == ["1", '"x"']


def test_a_missing_result_bucket_fails_the_map_run(machines: Machines) -> None:
    """dg/concepts-error-handling.html: States.ResultWriterFailed"""
    run = machines.run(jsonata({"Map": distributed(Items="{% [1] %}", ResultWriter=writer())}), {"bucket": "no-such"})
    assert run.ended()["error"] == "States.ResultWriterFailed"


def test_results_too_large_for_a_state_fail_the_map(machines: Machines) -> None:
    """dg/service-quotas.html: 256 KiB; dg/concepts-error-handling.html: States.DataLimitExceeded, by name"""
    large = {"Make": {"Type": "Pass", "Output": "{% $pad('', 200000, 'x') %}", "End": True}}
    catch = [{"ErrorEquals": ["States.DataLimitExceeded"], "Output": "{% $states.errorOutput.Error %}", "Next": "Done"}]
    states = {"Map": distributed(large, Items="{% [1, 2] %}", Catch=catch), "Done": {"Type": "Succeed"}}
    assert machines.run(jsonata(states)).output() == "States.DataLimitExceeded"


def test_no_more_children_run_than_the_concurrency_from_jsonata(machines: Machines) -> None:
    """dg/state-map-distributed.html: MaxConcurrency"""
    state = distributed(WAIT, Items="{% [3, 3, 3, 3] %}", MaxConcurrency="{% $states.input.most %}")
    run = machines.run(jsonata({"Map": state}), {"most": 2})
    assert eventually(lambda: run.map_run()["itemCounts"] == counts(running=2, pending=2, total=4))
    assert run.map_run()["maxConcurrency"] == 2
    run.output()


def test_concurrency_changes_while_the_run_goes_on(machines: Machines) -> None:
    """API_UpdateMapRun"""
    state = distributed(WAIT, Items="{% [3, 3, 3, 3, 3, 3] %}", MaxConcurrency=1)
    run = machines.run(jsonata({"Map": state}))
    eventually(lambda: run.map_run()["itemCounts"]["running"])
    client(machines.aws, "stepfunctions").update_map_run(mapRunArn=run.map_run()["mapRunArn"], maxConcurrency=5)
    assert eventually(lambda: run.map_run()["itemCounts"]["running"] >= 4)
    assert run.map_run()["maxConcurrency"] == 5
    run.output()


def test_a_lower_concurrency_lets_running_children_end_and_starts_fewer(machines: Machines) -> None:
    """API_UpdateMapRun: from 4 to 1 while the run goes on"""
    states = client(machines.aws, "stepfunctions")
    run = machines.run(jsonata({"Map": distributed(WAIT, Items="{% [2, 2, 2, 2, 1, 1] %}", MaxConcurrency=4)}))
    eventually(lambda: run.map_run()["itemCounts"]["running"] == 4)

    states.update_map_run(mapRunArn=run.map_run()["mapRunArn"], maxConcurrency=1)
    assert run.map_run()["itemCounts"]["running"] == 4

    assert eventually(lambda: run.map_run()["itemCounts"]["succeeded"] >= 4)
    assert run.map_run()["itemCounts"]["running"] <= 1
    assert len(run.output()) == 6


def test_a_map_run_is_updated_within_bounds_and_only_while_it_runs(machines: Machines) -> None:
    """API_UpdateMapRun: in-progress map runs; toleratedFailurePercentage from 0 to 100"""
    states = client(machines.aws, "stepfunctions")
    run = machines.run(jsonata({"Map": distributed(Items="{% [1] %}")}))
    run.output()
    arn = run.map_run()["mapRunArn"]
    for change in ({"maxConcurrency": 2}, {"toleratedFailurePercentage": 101}, {"toleratedFailureCount": -1}):
        with pytest.raises(ClientError) as refused:
            unchecked(machines).update_map_run(mapRunArn=arn, **change)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        states.update_map_run(mapRunArn=f"{arn}0", maxConcurrency=1)


def test_the_map_runs_of_an_execution_are_listed_page_by_page(machines: Machines) -> None:
    """API_ListMapRuns: maxResults and nextToken"""
    states = client(machines.aws, "stepfunctions")
    again = {"First": distributed(Items="{% [1] %}"), "Second": distributed(Items="{% [1] %}")}
    again["First"] = {**again["First"], "Next": "Second"}
    del again["First"]["End"]
    run = machines.run(jsonata(again))
    run.output()

    pages = [states.list_map_runs(executionArn=run.arn, maxResults=1)]
    pages.append(states.list_map_runs(executionArn=run.arn, maxResults=1, nextToken=pages[0]["nextToken"]))

    arns = [one["mapRunArn"] for page in pages for one in page["mapRuns"]]
    assert arns == [one["mapRunArn"] for one in states.list_map_runs(executionArn=run.arn)["mapRuns"]]
    assert (len(set(arns)), "nextToken" in pages[1]) == (2, False)
    with pytest.raises(ClientError):
        unchecked(machines).list_map_runs(executionArn=run.arn, maxResults=1001)


def test_executions_and_children_are_listed_by_status(machines: Machines) -> None:
    """API_ListExecutions: statusFilter, for a machine or a map run; children are not the machine's executions"""
    fails = {"Choose": {"Type": "Fail", "Error": "No"}}
    states = client(machines.aws, "stepfunctions")
    machine = machines.create(jsonata({"Map": distributed(fails, Items="{% [1] %}", ToleratedFailurePercentage=100)}))
    run = machines.start(machine)
    run.output()

    def listed(**of: Any) -> list[str]:
        return [one["executionArn"] for one in states.list_executions(**of)["executions"]]

    assert listed(stateMachineArn=machine, statusFilter="SUCCEEDED") == [run.arn]
    assert listed(stateMachineArn=machine, statusFilter="FAILED") == []
    assert [child["status"] for child in run.children(statusFilter="FAILED")] == ["FAILED"]
    assert run.children(statusFilter="SUCCEEDED") == []


def test_an_inline_map_in_a_child_goes_on_after_an_item_that_was_caught(machines: Machines, bucket: Bucket) -> None:
    """dg/state-map-inline.html: MaxConcurrency 1 goes item by item; Catch inside; each answer is written as it comes"""
    arguments = {
        "Bucket": "{% $states.context.Execution.Input.bucket %}",
        "Key": "{% 'answers/' & $string($states.input.n) & '.json' %}",
        "Body": {"answer": "{% $states.input.n %}", "text": "{% $pad('', $states.input.size, 'x') %}"},
    }
    put = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
        "Arguments": arguments,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Failed"}],
        "Output": "{% $states.context.Map.Item.Index %}",
        "End": True,
    }
    inner = {
        "ProcessorConfig": {"Mode": "INLINE"},
        "StartAt": "Put",
        "States": {"Put": put, "Failed": {"Type": "Pass", "End": True}},
    }
    rows = {
        "Type": "Map",
        "MaxConcurrency": 1,
        "Items": "{% $states.input.rows %}",
        "ItemProcessor": inner,
        "End": True,
    }
    child = {"rows": [{"n": 1, "size": 10}, {"n": 2, "size": 300_000}, {"n": 3, "size": 10}], "bucket": bucket.name}
    outer = distributed({"Rows": rows}, Items="{% [$states.input] %}")

    run = machines.run(jsonata({"Map": outer}), child)

    assert run.output() == [[0, "States.DataLimitExceeded", 2]]
    assert [bucket.json(f"answers/{n}.json")["answer"] for n in (1, 3)] == [1, 3]


def test_stopping_the_execution_stops_its_map_run(machines: Machines, bucket: Bucket) -> None:
    """API_StopExecution; dg/state-map-distributed.html; dg/input-output-resultwriter.html: FAILED_n and PENDING_n"""
    state = distributed(WAIT, Items="{% [30, 30, 30] %}", MaxConcurrency=2, ResultWriter=writer())
    run = machines.run(jsonata({"Map": state}), {"bucket": bucket.name})
    eventually(lambda: run.map_run()["itemCounts"]["running"] == 2)
    run.stop(error="Wrong", cause="a mistake")
    ended = run.describe()
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Wrong", "a mistake")
    assert eventually(lambda: run.map_run()["status"] == "ABORTED")
    assert run.map_run()["itemCounts"] == counts(pending=1, aborted=2, total=3)
    assert [child["status"] for child in run.children()] == ["ABORTED", "ABORTED"]
    assert "ExecutionAborted" in run.event_types()
    folder = f"results/{run.map_run()['mapRunArn'].rpartition(':')[2]}"
    assert [record["Status"] for record in bucket.json(f"{folder}/FAILED_0.json")] == ["ABORTED", "ABORTED"]
    [pending] = bucket.json(f"{folder}/PENDING_0.json")
    assert (pending["Status"], pending["Input"]) == ("PENDING", "30")


def test_children_inside_a_call_are_aborted_at_once(machines: Machines, local_aws: LocalAws, gate: Gate) -> None:
    """API_StopExecution does not wait for the function that a child calls"""
    held = make_function(local_aws, gate.code, Timeout=120)
    call: State = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": held},
        "End": True,
    }
    run = machines.run(jsonata({"Map": distributed({"Call": call}, Items="{% [1] %}")}))
    assert eventually(gate.inside)
    run.stop()
    assert eventually(lambda: run.map_run()["status"] == "ABORTED")
    assert run.map_run()["itemCounts"] == counts(aborted=1, total=1)


def test_one_child_can_be_stopped(machines: Machines) -> None:
    """API_StopExecution of a child; its item counts as aborted"""
    state = distributed(WAIT, Items="{% [30, 1] %}", ToleratedFailurePercentage=100)
    run = machines.run(jsonata({"Map": state}))
    states = client(machines.aws, "stepfunctions")
    children = eventually(lambda: found if len(found := run.children()) == 2 else [])
    waiting = next(
        child for child in children if states.describe_execution(executionArn=child["executionArn"])["input"] == "30"
    )
    states.stop_execution(executionArn=waiting["executionArn"])
    run.output()
    assert run.map_run()["itemCounts"] == counts(succeeded=1, aborted=1, total=2, resultsWritten=1)


def test_express_children_run_too(machines: Machines) -> None:
    """dg/state-map-distributed.html: ExecutionType EXPRESS"""
    run = machines.run(jsonata({"Map": distributed(kind="EXPRESS", Items="{% [1, 2] %}")}))
    assert run.output() == [1, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {"ItemBatcher": {"MaxItemsPerBatch": 1, "Surprise": 1}},
        {"ResultWriter": writer(Compression="GZIP")},
        {"ItemReader": csv_reader("items.csv", ExpectedBucketOwner="1")},
        {"ItemReader": csv_reader("items.csv", {"InputType": "PARQUET"})},
    ],
)
def test_what_the_local_aws_lacks_is_refused(machines: Machines, bucket: Bucket, fields: dict[str, Any]) -> None:
    """An emulator that accepts a field and ignores it hides the difference."""
    bucket.put("items.csv", "a\n1\n")
    fields = fields if "ItemReader" in fields else {**fields, "Items": "{% [1] %}"}
    ended = machines.run(jsonata({"Map": distributed(**fields)}), {"bucket": bucket.name}).ended()
    assert (ended["error"], "support" in ended["cause"]) == ("States.Runtime", True)


READ: State = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
    "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"},
    "Output": "{% $states.result.Body %}",
    "End": True,
}


def test_a_redrive_runs_the_children_that_did_not_succeed_in_the_same_map_run(
    machines: Machines, bucket: Bucket
) -> None:
    """dg/redrive-map-run.html: children go on where they failed, the rest starts, files hold all successes"""
    inner = {"Before": {"Type": "Pass", "Next": "Read"}, "Read": READ}
    items = [{"bucket": bucket.name, "key": key} for key in ("here", "late", "last")]
    bucket.put("here", "1")
    bucket.put("last", "3")
    state = distributed(inner, Items=items, MaxConcurrency=1, ResultWriter=writer())
    run = machines.run(jsonata({"Map": state}), {"bucket": bucket.name})
    assert run.ended()["error"] == "States.ExceedToleratedFailureThreshold"
    first = run.map_run()
    failed = run.children(statusFilter="FAILED")
    bucket.put("late", "2")

    client(machines.aws, "stepfunctions").redrive_execution(executionArn=run.arn)

    manifest = bucket.json(run.output()["ResultWriterDetails"]["Key"])
    [file] = manifest["ResultFiles"]["SUCCEEDED"]
    assert sorted(json.loads(one["Output"]) for one in bucket.json(file["Key"])) == ["1", "2", "3"]
    assert (manifest["ResultFiles"]["FAILED"], manifest["ResultFiles"]["PENDING"]) == ([], [])
    again = run.map_run()
    assert (again["mapRunArn"], again["redriveCount"], again["status"]) == (first["mapRunArn"], 1, "SUCCEEDED")
    assert again["itemCounts"] == counts(succeeded=3, total=3, resultsWritten=3)
    redriven = Run(machines.aws, failed[0]["executionArn"])
    assert redriven.describe()["redriveCount"] == 1
    assert redriven.event_types().count("PassStateEntered") == 1
    assert "MapRunRedriven" in run.event_types()


def test_a_map_run_is_stopped_redriven_and_stopped_again(
    machines: Machines, local_aws: LocalAws, gate: Gate, bucket: Bucket
) -> None:
    """dg/redrive-executions.html: ABORTED; the children inside a call are aborted and redriven"""
    function = make_function(local_aws, gate.code, Timeout=60)
    call = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": function}}
    inner = {"Call": {**call, "Output": "{% $states.context.Execution.RedriveCount %}", "End": True}}
    run = machines.run(jsonata({"Map": distributed(inner, Items="{% [1, 2, 3] %}", MaxConcurrency=2)}))
    eventually(lambda: len(gate.inside()) == 2)
    states = client(local_aws, "stepfunctions")

    run.stop()
    states.redrive_execution(executionArn=run.arn)
    assert eventually(lambda: len(gate.inside()) == 4)
    run.stop()
    assert run.describe()["status"] == "ABORTED"
    states.redrive_execution(executionArn=run.arn)
    gate.open()

    assert run.output() == [2, 2, 0]
    assert run.map_run()["itemCounts"] == counts(succeeded=3, total=3, resultsWritten=3)


def test_iterations_and_branches_that_ended_are_not_run_again_by_a_redrive(machines: Machines, bucket: Bucket) -> None:
    """dg/redrive-executions.html: Parallel and INLINE Map states go on with what did not succeed"""
    bucket.put("here", "1")
    iteration: State = {"StartAt": "Before", "States": {"Before": {"Type": "Pass", "Next": "Read"}, "Read": READ}}
    rows: State = {
        "Type": "Map",
        "MaxConcurrency": 1,
        "Items": [{"bucket": bucket.name, "key": key} for key in ("here", "late")],
        "ItemProcessor": iteration,
        "End": True,
    }
    other: State = {"Other": {"Type": "Pass", "Output": "ended", "End": True}}
    branches = [{"StartAt": "Rows", "States": {"Rows": rows}}, {"StartAt": "Other", "States": other}]
    run = machines.run(jsonata({"Both": {"Type": "Parallel", "Branches": branches, "End": True}}))
    assert run.ended()["error"] == "S3.NoSuchKeyException"
    bucket.put("late", "2")

    client(machines.aws, "stepfunctions").redrive_execution(executionArn=run.arn)

    assert run.output() == [["1", "2"], "ended"]
    entered = [event["stateEnteredEventDetails"]["name"] for event in run.events() if "StateEntered" in event["type"]]
    assert (entered.count("Before"), entered.count("Read")) == (2, 3)


def test_a_retry_of_the_map_is_a_new_map_run(machines: Machines) -> None:
    """dg/state-map-distributed.html: a retried Map state starts a new Map Run"""
    retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1}]
    run = machines.run(jsonata({"Map": distributed(FAIL_THREE, Items="{% [3] %}", Retry=retry)}))
    run.ended()
    assert len(client(machines.aws, "stepfunctions").list_map_runs(executionArn=run.arn)["mapRuns"]) == 2


def test_many_rows_keep_whole_counts_and_only_the_last_children(machines: Machines, bucket: Bucket) -> None:
    """API_DescribeMapRun, over more rows than the local AWS keeps the details of"""
    bucket.put("items.csv", "a\n" + "".join(f'"{number}"\n' for number in range(1500)))
    state = distributed(ItemReader=csv_reader("items.csv"), ResultWriter=writer(), MaxConcurrency=20)
    run = machines.run(jsonata({"Map": state}), {"bucket": bucket.name})
    key = run.output()["ResultWriterDetails"]["Key"]
    assert run.map_run()["itemCounts"]["succeeded"] == 1500
    [file] = bucket.json(key)["ResultFiles"]["SUCCEEDED"]
    rows = [int(json.loads(record["Input"])["a"]) for record in bucket.json(file["Key"])]
    assert sorted(rows) == list(range(1500))
    assert len(run.children()) == 500
