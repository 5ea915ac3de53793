"""A column that stays empty is named, and each batch says where its configuration comes from."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from row_batches.mapping.models import OutputMapping
from row_batches.run.blanks import Unmatched
from row_batches.run.runs_dynamodb import DynamoDbRuns
from tests.support.deployment import Deployment, Run, csv_bytes
from tests.support.notifications import Subscription

COLUMNS = [
    {"name": "value", "source": "$.value"},
    {"name": "typo", "source": "$.vlaue", "default": "none"},
    {"name": "call", "source": "$.tool_use_id"},
]
MAPPING = {"columns": COLUMNS, "include_original": False, "add_metadata": False}
SLOW_SECONDS = 8


def empty_while_running(deployment: Deployment, arn: str) -> list[Unmatched]:
    """The columns that are known to be empty, as soon as some are and the execution still runs."""
    runs = DynamoDbRuns(deployment.client("dynamodb"), deployment.outputs["runs_table"])
    mapping = OutputMapping.model_validate(MAPPING)
    while deployment.states.describe_execution(executionArn=arn)["status"] == "RUNNING":
        run = runs.get(arn.rpartition(":")[2])
        if run is not None and run.ended_at is None and (empty := run.mostly_empty(mapping)):
            return empty
        time.sleep(deployment.waits.poll)
    return []


def test_a_wrong_source_in_one_of_three_columns_is_named_in_progress_summary_and_notification(
    deployment: Deployment,
) -> None:
    # Given a typo in one of three sources, and a last batch that takes some seconds
    rows = [["mode", "n"], *([["ok", "7"]] * 20), ["slow", str(SLOW_SECONDS)]]
    document: dict[str, Any] = {
        "csv_s3_uri": deployment.upload(csv_bytes(rows)),
        "target": {"type": "tool", "name": "chaos"},
        "output_mapping": MAPPING,
        "execution_config": {"batch_size": 10, "max_concurrency": 1, "timeout_seconds": 60},
    }
    said = "Column typo: $.vlaue matched 0 of 21; the answers have value. Did you mean $.value?"
    with Subscription(deployment) as subscription:
        # When it runs
        arn = deployment.start(document)
        (empty,) = empty_while_running(deployment, arn)
        run = Run(deployment, arn, deployment.wait(arn), document["csv_s3_uri"]).assert_succeeded()
        message = json.loads(subscription.message_of(run.name)["Message"])
    # Then it is named while it runs, at its end and in the notification, and the other columns are not
    assert (empty.column, empty.source, empty.matched, empty.closest) == ("typo", "$.vlaue", 0, "$.value")
    assert [warning for warning in run.summary["warnings"] if warning.startswith("Column ")] == [said]
    assert [warning for warning in message["warnings"] if warning.startswith("Column ")] == [said]
    assert run.summary["missing_by_column"] == {
        "typo": {"source": "$.vlaue", "matched": 0, "rows": 21, "keys": ["value"], "closest": "$.value"}
    }
    assert {row["typo"] for row in run.rows} == {"none"}
    assert run.rows[0]["value"] == "7"


@pytest.mark.local_only("the deployment's configuration is the tests' own")
def test_a_default_of_the_deployment_holds_unless_the_document_has_the_field(deployment: Deployment) -> None:
    document = {"target": {"type": "tool", "name": "echo"}, "dry_run": True}
    body = csv_bytes([["id"], ["1"]])

    left_out = deployment.run(document, body).assert_succeeded().document["effective_config"]
    given = deployment.run({**document, "execution_config": {"give_up_seconds": 45}}, body)

    assert left_out["execution_config.give_up_seconds"] == {"value": 590, "source": "deployment"}
    assert left_out["execution_config.batch_size"] == {"value": 100, "source": "default"}
    effective = given.assert_succeeded().document["effective_config"]
    assert effective["execution_config.give_up_seconds"] == {"value": 45, "source": "document"}
