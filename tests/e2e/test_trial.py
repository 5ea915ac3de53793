"""A trial of a run: approved, not approved, stopped while it waits, killed while it waits, without an approval."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batch_processor_client.trials import answer, trial_report
from row_batches.run.runs_dynamodb import DynamoDbRuns
from tests.support.aws_resources import eventually
from tests.support.client import run_client
from tests.support.deployment import FULL_SIZE, Deployment, Run, csv_bytes, scaled
from tests.support.iam import client_with
from tests.support.notifications import Subscription

TOOL = {"type": "tool", "name": "chaos"}
AGENT = {"type": "agent", "name": "chaos_agent"}
SIZES = {"tool": (scaled(10_000, 40), scaled(20, 4)), "agent": (40, 4)}
"""Rows of a run, and of its trial, by the type of its target."""


def document(target: dict[str, str], approval: str = "required", **execution: Any) -> dict[str, Any]:
    return {
        "target": target,
        "trial": {"rows": SIZES[target["type"]][1], "approval": approval},
        "output_mapping": {"columns": [{"name": "value", "source": "$.value"}]},
        "execution_config": {
            "max_concurrency": 8,
            "batch_size": scaled(500, 10),
            "retry_policy": {"max_attempts": 1},
            **execution,
        },
    }


class Trial:
    """A run with a trial, started and waiting for an approval."""

    def __init__(self, deployment: Deployment, target: dict[str, str], **execution: Any) -> None:
        self.deployment = deployment
        self.rows, self.tried = SIZES[target["type"]]
        self.uri = deployment.upload(csv_bytes([["mode", "n"], *[["ok", str(row)] for row in range(self.rows)]]))
        self.batch_name = f"trial{uuid.uuid4().hex[:8]}"
        self.document = {
            "csv_s3_uri": self.uri,
            **document(target, **execution),
            "notification_config": {"batch_name": self.batch_name},
        }
        self.arn = deployment.start(self.document)
        self.name = self.arn.rsplit(":", 1)[1]
        self.token = self.await_question()

    @property
    def runs(self) -> DynamoDbRuns:
        return DynamoDbRuns(self.deployment.client("dynamodb"), self.deployment.outputs["runs_table"])

    def await_question(self, before: str = "") -> str:
        """The token of the question, once the run waits and is shown so."""

        def token() -> str | None:
            run = self.runs.get(self.name)
            if run is None or run.approval is None or run.approval.token == before:
                return None
            assert run.shown_state == "WAITING_FOR_APPROVAL"
            return run.approval.token

        found = eventually(token, 120)
        assert found, self.deployment.states.describe_execution(executionArn=self.arn)
        return str(found)

    def ended(self) -> Run:
        return Run(self.deployment, self.arn, self.deployment.wait(self.arn), self.uri)


def assert_only_the_trial_ran(run: Run, trial: Trial) -> None:
    assert [row["_row_id"] for row in run.rows] == [str(row) for row in range(1, trial.rows + 1)]
    assert [row["_status"] for row in run.rows].count("SUCCESS") == trial.tried
    assert sum("not started" in row["_error_message"] for row in run.rows) == trial.rows - trial.tried
    assert run.summary["attempts"] == trial.tried


@pytest.mark.parametrize("target", [TOOL, AGENT], ids=["tool", "agent"])
def test_an_approved_run_runs_its_other_rows_and_each_row_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, target: dict[str, str]
) -> None:
    with Subscription(deployment) as subscription:
        trial = Trial(deployment, target)
        asked = json.loads(subscription.message_of(trial.name)["Message"])
    assert (asked["status"], asked["rows_processed"]) == ("WAITING_FOR_APPROVAL", trial.tried)
    assert asked["approve"] == f"make approve ENV={deployment.environment} EXECUTION={trial.name}"
    with client_with(deployment, deployment.outputs["caller_policy_json"]) as client:
        assert trial_report(client, trial.name).finished == trial.tried
        assert answer(client, trial.name, approved=True).execution == trial.name
    run = trial.ended().assert_succeeded()
    assert [row["value"] for row in run.rows] == [str(row) for row in range(trial.rows)]
    assert run.summary["attempts"] == trial.rows
    if target is AGENT:
        assert len(deployment.agent_executions(trial.batch_name)) == trial.rows
    assert run.document["trial"]["finished"] == trial.tried
    assert run.document["trial"]["whole"]["rows"] == trial.rows
    done = trial.runs.get(trial.name)
    assert done is not None
    assert (done.approval, done.shown_state) == (None, "SUCCEEDED")


def test_who_lacks_the_permission_cannot_approve_and_a_run_that_is_not_approved_runs_nothing_more(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(deployment, TOOL)
    policy = json.loads(deployment.outputs["caller_policy_json"])
    policy["Statement"] = [statement for statement in policy["Statement"] if statement.get("Sid") != "ApproveRuns"]
    with client_with(deployment, json.dumps(policy)) as client, pytest.raises(ClientError) as denied:
        answer(client, trial.name, approved=True)
    assert "states:SendTaskSuccess" in str(denied.value)
    stopped = run_client(deployment, "stop", trial.name)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    run = trial.ended()
    assert (run.status, run.error) == ("FAILED", "StoppedError")
    assert_only_the_trial_ran(run, trial)


@pytest.mark.parametrize("target", [AGENT, TOOL] if FULL_SIZE else [AGENT], ids=lambda target: target["type"])
def test_a_run_that_is_killed_while_it_waits_is_resumed_or_redriven_and_calls_no_row_twice(
    deployment: Deployment, target: dict[str, str]
) -> None:
    trial = Trial(deployment, target)
    deployment.states.stop_execution(executionArn=trial.arn)
    assert eventually(lambda: f"results/{trial.name}/summary.json" in deployment.keys(f"results/{trial.name}/"), 120)
    assert_only_the_trial_ran(trial.ended(), trial)

    resumed = {**trial.document, "execution_config": {**trial.document["execution_config"], "resume_from": trial.name}}
    run = deployment.run({name: value for name, value in resumed.items() if name != "trial"}).assert_succeeded()
    assert (run.document["resumed"], run.summary["attempts"]) == (trial.tried, trial.rows - trial.tried)

    deployment.states.redrive_execution(executionArn=trial.arn)
    trial.await_question(trial.token)
    approved = run_client(deployment, "approve", trial.name)
    assert approved.returncode == 0, approved.stdout + approved.stderr
    run = trial.ended().assert_succeeded()
    assert run.summary["attempts"] == trial.rows


def test_without_an_approval_a_run_goes_on_by_itself_unless_no_row_of_the_trial_was_successful(
    deployment: Deployment,
) -> None:
    count, tried = SIZES["tool"]
    rows = [["ok", str(row)] for row in range(count)]
    trying = document(TOOL, "none", storage_mode="dynamodb", deduplicate=True)
    run = deployment.run(trying, csv_bytes([["mode", "n"], *rows, *rows[:10]])).assert_succeeded()
    assert run.document["trial"]["succeeded"] == tried
    assert run.summary["attempts"] == count
    assert [row["value"] for row in run.rows] == [n for _, n in rows + rows[:10]]

    failing = deployment.run(document(TOOL, "none"), csv_bytes([["mode", "n"], *[["fail", "0"]] * count]))
    assert (failing.status, failing.error) == ("FAILED", "TrialFailedError")
    assert failing.summary["attempts"] == tried
