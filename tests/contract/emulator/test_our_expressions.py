"""Expressions of our state machine on what AWS may give them: nothing catches an error in a Catch's Output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.emulator.machines import Machines, State, jsonata
from tests.support import state_machine
from tests.support.local_aws import LocalAws

MACHINE: dict[str, Any] = json.loads(state_machine.composed())
CAUSE = state_machine.PARTS["cause"]
AGENT_STATES = MACHINE["States"]["ProcessAgentRows"]["ItemProcessor"]["States"]
LOOKED_UP = AGENT_STATES["LookUpExecution"]["Arguments"]["ExecutionArn"]


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


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

    output = machines.run(jsonata({"Say": state}), {"Cause": cause}).output()

    assert output == {"said": cause if said is None else said}


@pytest.mark.parametrize("qualifier", ["", ":live", ":3"])
def test_an_execution_is_looked_up_under_its_machines_name_without_alias_or_version(
    machines: Machines, qualifier: str
) -> None:
    call = {"agent_arn": f"arn:aws:states:us-east-1:000000000000:stateMachine:agent{qualifier}", "name": "batch-1-1"}
    states: dict[str, State] = {
        "Call": {"Type": "Pass", "Assign": {"call": call}, "Next": "LookUp"},
        "LookUp": {"Type": "Pass", "Output": {"arn": LOOKED_UP}, "End": True},
    }

    output = machines.run(jsonata(states), {}).output()

    assert output == {"arn": "arn:aws:states:us-east-1:000000000000:execution:agent:batch-1-1"}
