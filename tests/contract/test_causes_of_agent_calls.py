"""What the product makes of an agent that cannot be called: the causes are those that Step Functions really gives.

Errors that are common to all services arrive under the service's own name; only the cause tells a denied permission
from throttling.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from foundation.errors import DeploymentError
from row_batches.run.agent_messages import AgentCall, MapOutputRequest, MapOutputResponse
from row_batches.run.batch import Batches
from row_batches.run.map_output import map_output
from row_batches.run.messages import BatchReference, CaughtError
from row_batches.run.runs import BestEffort
from tests.support.aws_resources import eventually, unique
from tests.support.batches import KEYS, make_plan, staged_items
from tests.support.fakes import FakeClock, FakeDeadLetters, FakeObjectStore, FakeRuns, fake_starts
from tests.support.local_aws import LocalAws

pytestmark = pytest.mark.local_aws

ROWS = [["1", "a text"]]
INTEGRATIONS = ["states:startExecution.sync:2", "states:startExecution", "aws-sdk:sfn:startExecution"]


class Callers:
    """State machines that call an agent and give back the error that they caught."""

    def __init__(self, aws: LocalAws) -> None:
        self._states, self._iam = aws.client("stepfunctions"), aws.client("iam")
        self.agent = self._machine({"Only": {"Type": "Pass", "End": True}}, allowed=False)

    def _machine(self, states: dict[str, Any], *, allowed: bool) -> str:
        trusted = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trust = {"Version": "2012-10-17", "Statement": [trusted]}
        name = unique("role")
        role = self._iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        if allowed:
            policy = {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "states:*", "Resource": "*"}],
            }
            self._iam.put_role_policy(RoleName=name, PolicyName="call", PolicyDocument=json.dumps(policy))
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}
        arn: str = self._states.create_state_machine(
            name=unique("machine"), definition=json.dumps(definition), roleArn=role
        )["stateMachineArn"]
        return arn

    def caught(self, integration: str, *, allowed: bool) -> CaughtError:
        """The error of a call through the integration, as a Catch gives it."""
        call = {
            "Type": "Task",
            "Resource": f"arn:aws:states:::{integration}",
            "Arguments": {"StateMachineArn": self.agent},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
            "Next": "Call",
        }
        machine = self._machine({"Call": call, "Caught": {"Type": "Succeed"}}, allowed=allowed)
        arn = self._states.start_execution(stateMachineArn=machine)["executionArn"]
        ended = eventually(
            lambda: (shown := self._states.describe_execution(executionArn=arn))["status"] != "RUNNING" and shown
        )
        assert ended, "still running"
        return CaughtError.model_validate_json(ended["output"])


def made_of(error: CaughtError) -> MapOutputResponse:
    """What the product does with the error of a row's third attempt."""
    store, clock = FakeObjectStore(), FakeClock()
    make_plan(ROWS, store=store, invocation="standard")
    call = AgentCall(row=1, attempt=3, timeout_seconds=60, hash="h", name="n", agent_arn="arn", input_bytes=1)
    request = MapOutputRequest(
        BatchInput=BatchReference(plan_key=KEYS.plan),
        Row=staged_items(ROWS)[0],
        Call=call,
        Began=datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
        Ended=datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
        ErrorOutput=error,
    )
    return map_output(
        request,
        batches=Batches(store, clock),
        dead_letters=FakeDeadLetters(),
        notes=BestEffort(FakeRuns()),
        starts=fake_starts(clock),
    )


@pytest.fixture(scope="module")
def callers() -> Iterator[Callers]:
    with LocalAws() as aws:
        yield Callers(aws)


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_a_denied_call_fails_the_run_as_a_fault_of_the_deployment(callers: Callers, integration: str) -> None:
    with pytest.raises(DeploymentError, match="not authorized to perform: states:StartExecution"):
        made_of(callers.caught(integration, allowed=False))


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_a_throttled_call_is_made_again_and_does_not_count_as_an_attempt(integration: str) -> None:
    with LocalAws({"SFN_START_EXECUTION_QUOTA": "3/0.0001"}) as aws:
        error = Callers(aws).caught(integration, allowed=True)  # calls until it is throttled

    response = made_of(error)

    assert response.again is not None
    assert (response.again.attempt, response.again.throttles) == (3, 1)
