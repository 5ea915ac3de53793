"""Expressions of our state machine on what AWS may give them: nothing catches an error in a Catch's Output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import state_machine
from tests.support.aws_resources import eventually, unique
from tests.support.local_aws import LocalAws

pytestmark = pytest.mark.local_aws

MACHINE: dict[str, Any] = json.loads(state_machine.composed())
CAUSE = state_machine.PARTS["cause"]
CHILD = MACHINE["States"]["ProcessAgentRows"]["ItemProcessor"]["States"]
AGENT_STATES = CHILD["RunRows"]["ItemProcessor"]["States"]
LOOKED_UP = AGENT_STATES["LookUpExecution"]["Arguments"]["ExecutionArn"]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Machines:
    """Runs states on a local AWS."""

    def __init__(self, aws: LocalAws) -> None:
        self._states = aws.client("stepfunctions")
        created = aws.client("iam").create_role(RoleName=unique("role"), AssumeRolePolicyDocument=json.dumps(TRUST))
        self._role = created["Role"]["Arn"]

    def output(self, states: dict[str, Any], data: Any) -> Any:
        """The output of the states, the first one first."""
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        machine = self._states.create_state_machine(
            name=unique("machine"), definition=json.dumps(definition), roleArn=self._role
        )["stateMachineArn"]
        arn = self._states.start_execution(stateMachineArn=machine, input=json.dumps(data))["executionArn"]
        ended = eventually(
            lambda: (shown := self._states.describe_execution(executionArn=arn))["status"] != "RUNNING" and shown
        )
        assert ended, "still running"
        assert ended["status"] == "SUCCEEDED", ended.get("cause")
        return json.loads(ended["output"])


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with LocalAws() as aws:
        yield Machines(aws)


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ('{"errorMessage": "no such thing", "errorType": "KeyError"}', "no such thing"),
        ("", ""),
        ("User is not authorized to perform: lambda:InvokeFunction", None),
        # Lambda.Unknown: text around JSON.
        (
            "The cause could not be determined because Lambda did not return an error type. Returned payload: "
            '{"errorMessage":"2026-01-31T12:00:00.000Z id Task timed out after 900.00 seconds"}',
            None,
        ),
    ],
)
def test_the_cause_of_a_failure_is_the_functions_message_or_the_text_as_it_is(
    machines: Machines, cause: str, said: str | None
) -> None:
    expression = CAUSE.replace("$states.errorOutput", "$states.input")
    state = {"Type": "Pass", "Output": {"said": expression}, "End": True}

    output = machines.output({"Say": state}, {"Cause": cause})

    assert output == {"said": cause if said is None else said}


@pytest.mark.parametrize("qualifier", ["", ":live", ":3"])
def test_an_execution_is_looked_up_under_its_machines_name_without_alias_or_version(
    machines: Machines, qualifier: str
) -> None:
    call = {"agent_arn": f"arn:aws:states:us-east-1:000000000000:stateMachine:agent{qualifier}", "name": "batch-1-1"}
    states = {
        "Call": {"Type": "Pass", "Assign": {"call": call}, "Next": "LookUp"},
        "LookUp": {"Type": "Pass", "Output": {"arn": LOOKED_UP}, "End": True},
    }

    output = machines.output(states, {})

    assert output == {"arn": "arn:aws:states:us-east-1:000000000000:execution:agent:batch-1-1"}
