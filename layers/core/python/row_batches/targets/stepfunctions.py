"""Calls Express state machines, behind ``targets.ports.TargetInvoker``, and identifies a state machine's definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from foundation.aws.errors import error_name, translate, translated
from row_batches.document.plan import Target
from row_batches.targets.calls import Clients, failed_call, no_answer, request_too_large
from row_batches.targets.protocol import Outcome, read_express_answer, too_large

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

PAYLOAD_BYTES = 262_144
"""Largest input and output of an execution (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html)."""
TOO_LARGE = "is over the 256 KiB (262,144 bytes) that Step Functions allows"


class ExpressInvoker:
    """Calls Express state machines. ``make_client`` creates a client with a read time-out in whole seconds.

    StartSyncExecution answers 200 even if the execution failed; then ``status`` says so
    (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html).
    """

    def __init__(self, make_client: Callable[[int], SFNClient]) -> None:
        self._clients = Clients(make_client)

    def invoke(self, target: Target, payload: bytes, timeout_seconds: float) -> bytes | Outcome:
        if len(payload) > PAYLOAD_BYTES:
            return request_too_large(payload, TOO_LARGE)
        client = self._clients.get(timeout_seconds)
        try:
            answer = client.start_sync_execution(stateMachineArn=target.arn, input=payload.decode())
        except ReadTimeoutError:
            return no_answer(timeout_seconds)
        except (ClientError, BotoCoreError) as error:
            return failed_call(translate(error, "states:StartSyncExecution", target.arn), error_name(error))
        if answer["status"] == "SUCCEEDED":
            return answer.get("output", "null").encode()
        if answer.get("error") == "States.DataLimitExceeded":
            return too_large(f"it {TOO_LARGE}")
        return read_express_answer(
            {"Status": answer["status"], "Error": answer.get("error"), "Cause": answer.get("cause")}
        )


class StateMachineSettings:
    """Reads settings of state machines. ``make_client`` is called at the first read."""

    def __init__(self, make_client: Callable[[], SFNClient]) -> None:
        self._make_client = make_client

    def code(self, arn: str) -> str:
        """The revision of the state machine or, for a version or an alias, the numbers of the versions behind it.

        Each update makes a new revision. Before the first update there is none
        (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeStateMachine.html), so the time of
        creation is used, which differs if the state machine is created again. A published version never changes.
        """
        qualifier = [*arn.split(":", 7), ""][7]
        if not qualifier:
            with translated("states:DescribeStateMachine", arn):
                found = self._make_client().describe_state_machine(stateMachineArn=arn)
            return found.get("revisionId") or f"{found['creationDate']:%y%m%d%H%M%S}"
        if qualifier.isdecimal():
            return f"v{qualifier}"
        with translated("states:DescribeStateMachineAlias", arn):
            alias = self._make_client().describe_state_machine_alias(stateMachineAliasArn=arn)
        routes = alias["routingConfiguration"]
        return "+".join(sorted(f"v{route['stateMachineVersionArn'].rpartition(':')[2]}" for route in routes))
