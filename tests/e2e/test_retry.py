"""What failed or never ran is run again by one command, and the output lists all rows."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.errors import ClientError
from batch_processor_client.retry import retry
from tests.support.aws_resources import eventually
from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.local_aws import REPOSITORY

TARGETS = REPOSITORY / "examples" / "targets"
HEADER = ["mode", "n"]
REPAIRED = """
def handler(event, context):
    content = {"value": int(event["input"]["n"])}
    return {"type": "tool_result", "tool_use_id": event["id"], "content": content}
"""


def document(kind: str, name: str, **execution: Any) -> dict[str, Any]:
    return {
        "target": {"type": kind, "name": name},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value", "type": "number"}]},
        "execution_config": {"max_concurrency": 1, "retry_policy": {"max_attempts": 1}, **execution},
    }


def ended(deployment: Deployment, execution: str) -> Run:
    """A run that a command started, at its end."""
    arn = f"{deployment.machine.replace(':stateMachine:', ':execution:')}:{execution}"
    return Run(deployment, arn, deployment.wait(arn), "")


def arn_of(deployment: Deployment, target: str) -> str:
    registry = deployment.outputs["registry_table"]
    found = deployment.client("dynamodb").get_item(TableName=registry, Key={"name": {"S": target}})
    return str(found["Item"]["arn"]["S"])


def deploy_function(deployment: Deployment, target: str, code: str) -> None:
    """Other code for the function of a tool."""
    functions, arn = deployment.client("lambda"), arn_of(deployment, target)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), code)
    functions.update_function_code(FunctionName=arn, ZipFile=body.getvalue())
    functions.get_waiter("function_updated_v2").wait(FunctionName=arn, WaiterConfig={"Delay": 1})


@pytest.fixture
def repaired_tool(deployment: Deployment) -> Iterator[Callable[[], None]]:
    """Deploys a tool ``chaos`` that never fails; after the test it misbehaves on request again."""
    yield lambda: deploy_function(deployment, "chaos", REPAIRED)
    deploy_function(deployment, "chaos", (TARGETS / "chaos" / "handler.py").read_text())


@pytest.fixture
def repaired_agent(deployment: Deployment) -> Iterator[Callable[[], None]]:
    """The same for ``chaos_agent``."""
    states, arn = deployment.states, arn_of(deployment, "chaos_agent")
    definition = (TARGETS / "chaos_agent" / "agent.asl.json").read_text()
    never_fails = json.loads(definition)
    never_fails["StartAt"] = "Answer"
    yield lambda: states.update_state_machine(stateMachineArn=arn, definition=json.dumps(never_fails))
    states.update_state_machine(stateMachineArn=arn, definition=definition)


def assert_whole(run: Run, rows: list[list[str]]) -> None:
    assert [row["_row_id"] for row in run.rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert [[row["mode"], row["n"]] for row in run.rows] == rows


@pytest.mark.local_only("it deploys other code for a sample target")
def test_a_stopped_run_of_a_tool_is_retried_with_new_code_though_its_input_is_gone(
    deployment: Deployment, repaired_tool: Callable[[], None]
) -> None:
    # Given a run that stopped at its second failure, whose CSV is another one by now
    outputs = Outputs.model_validate(deployment.outputs)
    rows = [["fail" if number in {4, 9} else "ok", str(number)] for number in range(20)]
    stopped = deployment.run(
        document("tool", "chaos", batch_size=5, stop_after={"failed_rows": 2}), csv_bytes([HEADER, *rows])
    )
    assert stopped.error == "RowFailedError"
    answered = [int(row["_row_id"]) for row in stopped.rows if row["_status"] == "SUCCESS"]
    deployment.upload(csv_bytes([HEADER, *rows[::-1]]), key=stopped.key.split("/", 3)[3])
    repaired_tool()

    # When the answers of the older code are not accepted, nothing runs
    with pytest.raises(ClientError, match=r"resume_from: chaos is version 1@\S+; the answers .* version 1@\S+ \("):
        retry(outputs, stopped.name, dry_run=True)

    # Then with them it shows what would run, and runs it
    planned = retry(outputs, stopped.name, dry_run=True, accept_version=True)
    assert (planned.rows, planned.total_rows) == (20 - len(answered), 20)
    assert planned.estimate["best_usd"] < planned.estimate["worst_usd"]
    started = retry(outputs, stopped.name, accept_version=True)
    run = ended(deployment, started.execution).assert_succeeded()
    assert_whole(run, rows)
    assert {row["_status"] for row in run.rows} == {"SUCCESS"}
    assert (run.summary["resumed"], run.summary["attempts"]) == (len(answered), 20 - len(answered))
    assert sorted(run.summary["target_versions"].values()) == sorted([len(answered), 20 - len(answered)])
    assert run.result("failed_rows.csv").count(b"\n") == 1, "only the header"

    # And nothing is left to retry
    assert retry(outputs, started.execution).execution == ""
    with pytest.raises(ClientError, match=f"EXECUTION={started.execution}"):
        retry(outputs, stopped.name, accept_version=True)


@pytest.mark.local_only("it deploys other code for a sample target")
def test_the_failed_rows_of_an_agent_are_retried_and_a_retry_can_be_retried(
    deployment: Deployment, repaired_agent: Callable[[], None]
) -> None:
    outputs = Outputs.model_validate(deployment.outputs)
    rows = [["fail" if number == 2 else "ok", str(number)] for number in range(5)]
    first = deployment.run(document("agent", "chaos_agent"), csv_bytes([HEADER, *rows])).assert_succeeded()

    second = ended(deployment, retry(outputs, first.name).execution).assert_succeeded()
    assert_whole(second, rows)
    assert (second.document["failed"], second.document["resumed"], second.summary["attempts"]) == (1, 4, 1)
    repaired_agent()
    third = ended(deployment, retry(outputs, second.name, accept_version=True).execution).assert_succeeded()

    assert third.name == f"{first.name}-retry-2"
    assert_whole(third, rows)
    assert (third.document["failed"], third.document["resumed"]) == (0, 4)
    assert sorted(third.summary["target_versions"].values()) == [1, 4]


def test_a_run_that_goes_on_is_neither_resumed_nor_retried(deployment: Deployment) -> None:
    body = csv_bytes([HEADER, ["slow", "8"]])
    going_on = deployment.start({"csv_s3_uri": deployment.upload(body), **document("tool", "chaos")})
    name = going_on.rpartition(":")[2]
    assert eventually(lambda: deployment.keys(f"work/{name}/plan.json"), 300)

    resumed = deployment.run(document("tool", "chaos", resume_from=name), body)

    assert (resumed.status, resumed.error) == ("FAILED", "InvalidInputError")
    assert "execution_config.resume_from: it still runs" in resumed.cause
    with pytest.raises(ClientError, match="has not ended yet"):
        retry(Outputs.model_validate(deployment.outputs), name)
    deployment.wait(going_on)
