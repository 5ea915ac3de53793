"""What people may do with the policies of their roles: a reader, an operator, somebody who purges."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError as RefusedByAwsError

from batch_processor_client import (
    executions,
    files,
    following,
    guesses,
    heal,
    inputs,
    purge,
    remap,
    results,
    retry,
    rows,
    run_files,
    runs,
    stop,
    targets,
    trials,
    verify,
)
from batch_processor_client.deployment import Deployment as ClientDeployment
from foundation.errors import DeploymentError
from row_batches.document.s3_location import parse_s3_uri
from tests.support.deployment import Deployment, csv_bytes
from tests.support.iam import client_with

ROWS = 12
MOST_CHARACTERS = 6_144
"""Of a managed policy (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
DOCUMENT: dict[str, Any] = {
    "target": {"type": "tool", "name": "chaos"},
    "execution_config": {"max_concurrency": 4, "batch_size": 2, "retry_policy": {"max_attempts": 1}},
}
COLUMNS: dict[str, Any] = {"output_mapping": {"columns": [{"name": "other", "source": "$.value"}]}}
SENT = [["fail" if number == 3 else "ok", str(number)] for number in range(ROWS)]
BODY = csv_bytes([["mode", "n"], *SENT, ["", ""]])
"""The last row has no content, so it is skipped."""


@pytest.fixture(scope="module")
def ended(deployment: Deployment) -> str:
    """A run in which a row failed and another was skipped."""
    return deployment.run(DOCUMENT, BODY).assert_succeeded().name


@pytest.fixture
def reader(deployment: Deployment) -> str:
    return str(deployment.outputs["reader_policy_json"])


@pytest.fixture
def operator(deployment: Deployment) -> str:
    return str(deployment.outputs["operator_policy_json"])


def denied(change: Callable[[], object]) -> bool:
    """Whether IAM refuses a change."""
    with pytest.raises((RefusedByAwsError, S3UploadFailedError, DeploymentError)) as refused:
        change()
    return any(said in str(refused.value) for said in ("AccessDenied", "was denied"))


def test_a_policy_of_a_role_fits_into_a_managed_policy(deployment: Deployment) -> None:
    names = ("caller", "reader", "operator", "purger", "lake_operator", "admin_api_caller")
    policies = {name: deployment.outputs[f"{name}_policy_json"] for name in names}
    assert [name for name, policy in policies.items() if len(policy) > MOST_CHARACTERS] == []


def test_a_reader_sees_runs_rows_results_and_targets_and_changes_nothing(
    deployment: Deployment, ended: str, reader: str, tmp_path: Path
) -> None:
    rows_file = tmp_path / "rows.csv"
    rows_file.write_bytes(BODY)
    with client_with(deployment, reader) as client:
        assert ended in [run.execution for run in runs.list_runs(client, limit=100).runs]
        assert runs.status(client, ended).counts.failed == 1
        assert [*following.follow(client, ended)][-1].done == ROWS
        assert [row.status for row in rows.list_rows(client, ended).rows][-2:] == ["SUCCESS", "SKIPPED"]
        ending = results.ending(client, ended)
        assert ending.document is not None
        assert results.summary_of(client, ending.document)["failed"] == 1
        assert len(results.first_failed_rows(client, ending.document["failed_rows_s3_uri"], 5)) == 1
        assert "output.csv" in [file.path for file in run_files.list_files(client, ended)]
        assert files.download(client, ending.document["output_s3_uri"], tmp_path / "output.csv").is_file()
        assert verify.verify(client, ended).agrees
        assert [cause.count for cause in heal.diagnose(client, ended).causes] == [1]
        assert "chaos" in [target.name for target in targets.list_targets(client)]
        assert guesses.read_header(inputs.named_objects(client, plan_of(client, ended))).columns == ["mode", "n"]
        for change in (
            lambda: runs.start(client, DOCUMENT, unique_name(), rows_file),
            lambda: files.upload(client, rows_file, files.SHARED_PREFIX),
            lambda: runs.throttle(client, ended, concurrency=1),
            lambda: retry.retry(client, ended),
            lambda: remap.remap(client, ended, COLUMNS),
            lambda: targets.try_target(client, "chaos", {"mode": "ok", "n": "1"}),
            lambda: purge.look(client, ended),
        ):
            assert denied(change)
        deployment.upload(b"another file", parse_s3_uri(plan_of(client, ended)).key)
        against_the_copy = verify.verify(client, ended)
        assert against_the_copy.agrees
        assert "The output is compared with the copy of the input that the run staged." in against_the_copy.notes


def plan_of(client: ClientDeployment, run: str) -> str:
    """The address of the file that a run read."""
    return runs.read_plan(client, run).config.csv_s3_uri or ""


def test_an_operator_starts_approves_throttles_stops_retries_heals_and_remaps(
    deployment: Deployment, ended: str, reader: str, operator: str, tmp_path: Path
) -> None:
    slow = tmp_path / "rows.csv"
    slow.write_bytes(csv_bytes([["mode", "n"], *[["slow", "1"]] * 40]))
    with client_with(deployment, reader, operator) as client:
        document = trials.with_trial(DOCUMENT, 2)
        name = executions.name_of(runs.start(client, document, unique_name(), slow))
        following_it = following.follow(client, name)
        asked = next(one for one in following_it if one.approval is not None or one.ending is not None)
        assert asked.approval is not None
        trials.answer(client, name, approved=True)
        next(one for one in following_it if one.done > 2)
        assert runs.throttle(client, name, concurrency=2).live.max_concurrency == 2
        assert list(stop.stop(client, name, "the test stops it"))[-1].has_output
        assert retry.retry(client, ended, dry_run=True).rows == 1
        found = heal.diagnose(client, ended)
        healed = heal.heal(client, found, heal.choose(found, ["1"]), name=unique_name())
        assert [*following.follow(client, healed.execution)][-1].ending is not None
        assert remap.remap(client, ended, COLUMNS).remapped.counts.total() == ROWS + 1
        assert denied(lambda: purge.look(client, ended))
        assert denied(lambda: targets.try_target(client, "chaos", {"mode": "ok", "n": "1"}))


def test_who_has_the_policies_of_the_targets_tries_a_row(deployment: Deployment, reader: str) -> None:
    iam = deployment.client("iam")
    policies = []
    for arn in deployment.outputs["target_policy_arns"]:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policies.append(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    with client_with(deployment, reader, *map(json.dumps, policies)) as client:
        for target in ("echo", "echo_express_agent", "chaos_agent"):
            assert targets.try_target(client, target, {"mode": "ok", "n": "1"}).error == ""


def test_who_purges_needs_no_more_than_the_readers_policy_beside_theirs(deployment: Deployment, reader: str) -> None:
    name = deployment.run(DOCUMENT, BODY).assert_succeeded().name
    with client_with(deployment, reader, str(deployment.outputs["purger_policy_json"])) as client:
        found = purge.look(client, name)
        assert {part.what for part in found.parts} >= {"outputs and proof", "rows and plan", "table of runs"}
        assert purge.purge(client, found).is_deleted
        assert purge.look(client, name).parts == []


def unique_name() -> str:
    return f"people-{uuid.uuid4().hex[:8]}"
