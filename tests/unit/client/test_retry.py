"""Running again what failed: which document and which rows, under which name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError as RefusedByAwsError
from typer.testing import CliRunner

from batch_processor_client import cli
from batch_processor_client import retry as retries
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from row_batches.document.batch_config import Trial
from row_batches.document.plan import Source
from row_batches.targets.kinds import parse_document
from tests.support.batches import EXECUTION, KEYS, json_of, make_plan
from tests.support.fakes import FakeObjectStore
from tests.unit.client.fakes import OUTPUTS

PLANNED = {
    "rows_to_run": 3,
    "total_rows": 50,
    "estimate": {"parts": {"target": {"best": 0.0, "worst": 0.4}}, "total": {"best": 0.01, "worst": 0.5}},
    "warnings": ["Of the 50 rows of run-1, 47 were successful."],
}


class FakeStates:
    """Executions by name. A dry run ends at the second look, as ``dry_run`` says."""

    def __init__(self) -> None:
        self.started: dict[str, str] = {}
        self.ended: set[str] = set()
        self.dry_run: dict[str, Any] = {"status": "SUCCEEDED", "output": json.dumps(PLANNED)}
        self.looks = 0

    def start_execution(self, stateMachineArn: str, name: str, input: str) -> dict[str, str]:  # noqa: A002, N803
        if name in self.ended or self.started.get(name, input) != input:
            raise RefusedByAwsError({"Error": {"Code": "ExecutionAlreadyExists"}}, "StartExecution")
        self.started[name] = input
        return {"executionArn": f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"}

    def describe_execution(self, executionArn: str) -> dict[str, Any]:  # noqa: N803
        assert executionArn.rpartition(":")[2] in self.started
        self.looks += 1
        return {"status": "RUNNING"} if self.looks == 1 else self.dry_run


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = FakeObjectStore()
        self.states = FakeStates()
        self.deployment = Deployment.model_validate(OUTPUTS)
        self.plan = make_plan(
            [["1", "a"]] * 50, store=self.store, input_mapping={"static_values": {"nothing": None, "list": [1, None]}}
        )
        self.ended(failed=2, not_attempted=1)
        monkeypatch.setattr(Deployment, "client", lambda _, service: self.states)
        monkeypatch.setattr(retries, "S3ObjectStore", lambda *_: self.store)

    def ended(self, failed: int = 0, not_attempted: int = 0) -> None:
        counts = {"total_rows": 50, "failed": failed, "timed_out": 0, "not_attempted": not_attempted}
        self.store.put(KEYS.summary, json.dumps(counts).encode())

    def started(self, name: str) -> dict[str, Any]:
        return dict(json_of(self.states.started[name].encode()))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_retry_has_the_document_of_the_run_and_the_rows_that_it_staged(world: World) -> None:
    done = retries.retry(
        world.deployment, f"arn:aws:states:us-east-1:000000000000:execution:batch-processor:{EXECUTION}"
    )

    assert (done.execution, done.rows, done.total_rows) == ("run-1-retry-1", 3, 50)
    sent = world.started("run-1-retry-1")
    assert sent["csv_s3_uri"] == "s3://results/work/run-1/input.csv"
    config = parse_document(sent)
    settings = config.execution_config.model_copy(update={"resume_from": None})
    assert config.execution_config.resume_from == EXECUTION
    restored = config.model_copy(update={"csv_s3_uri": world.plan.config.csv_s3_uri, "execution_config": settings})
    assert restored == world.plan.config


def test_what_was_given_is_given_again_though_it_is_the_default(world: World) -> None:
    given = {
        "execution_config.max_concurrency": Source.DOCUMENT,
        "execution_config.storage_mode": Source.DEPLOYMENT,
        "output_mapping.extraction_methods": Source.DOCUMENT,
    }
    plan = world.plan.model_copy(update={"sources": given})
    world.store.put(KEYS.plan, plan.model_dump_json().encode())

    retries.retry(world.deployment, EXECUTION)

    assert world.started("run-1-retry-1")["execution_config"] == {
        "max_concurrency": 1,
        "storage_mode": "s3",
        "resume_from": EXECUTION,
    }
    assert world.started("run-1-retry-1")["output_mapping"] == {"extraction_methods": []}, "not the deployment's"


def test_an_acceptance_of_another_version_holds_for_one_retry(world: World) -> None:
    retries.retry(world.deployment, EXECUTION, accept_version=True)
    document = {**world.started("run-1-retry-1"), "csv_s3_uri": world.plan.config.csv_s3_uri}
    plan = world.plan.model_copy(update={"config": parse_document(document)})
    world.store.put(KEYS.plan, plan.model_dump_json().encode())

    retries.retry(world.deployment, EXECUTION, name="later")

    assert "accept_version" not in world.started("later")["execution_config"]


def test_a_retry_tries_no_rows_again_and_asks_nobody(world: World) -> None:
    config = world.plan.config.model_copy(update={"trial": Trial(rows=20, approval="required")})
    world.store.put(KEYS.plan, world.plan.model_copy(update={"config": config}).model_dump_json().encode())

    retries.retry(world.deployment, EXECUTION)

    assert "trial" not in world.started("run-1-retry-1")


def test_the_same_retry_twice_is_one_execution_and_after_its_end_the_next_one_is_named(world: World) -> None:
    first = retries.retry(world.deployment, EXECUTION)
    assert retries.retry(world.deployment, EXECUTION) == first
    assert list(world.states.started) == ["run-1-retry-1"]
    world.states.ended.add("run-1-retry-1")

    with pytest.raises(ClientError, match=r"EXECUTION=run-1-retry-1.*another NAME"):
        retries.retry(world.deployment, EXECUTION)
    assert retries.retry(world.deployment, EXECUTION, name="once-more").execution == "once-more"


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("nightly", "nightly-retry-1"),
        ("nightly-retry-9", "nightly-retry-10"),
        ("n" * 80, "n" * 72 + "-retry-1"),
        ("retry-1", "retry-1-retry-1"),
    ],
)
def test_a_retry_is_named_after_the_run(name: str, following: str) -> None:
    assert retries.next_name(name) == following


def test_a_dry_run_shows_rows_and_estimate_and_starts_nothing_that_runs_rows(world: World) -> None:
    waited: list[float] = []

    done = retries.retry(world.deployment, EXECUTION, dry_run=True, accept_version=True, wait=waited.append)

    assert (done.rows, done.total_rows) == (3, 50)
    assert done.estimate == {"best_usd": 0.01, "worst_usd": 0.5, "target_worst_usd": 0.4}
    assert waited == [1.0]
    (name,) = world.states.started
    assert name.startswith("run-1-retry-1-dry-run-")
    assert world.started(name)["dry_run"] is True
    assert world.started(name)["execution_config"]["accept_version"] is True


def test_what_a_dry_run_is_refused_for_is_the_message(world: World) -> None:
    cause = json.dumps(
        {"errorMessage": "1 problem in the input: echo is version 1@b", "errorType": "InvalidInputError"}
    )
    world.states.dry_run = {"status": "FAILED", "error": "InvalidInputError", "cause": cause}

    with pytest.raises(ClientError, match="InvalidInputError: 1 problem in the input: echo is version 1@b"):
        retries.retry(world.deployment, EXECUTION, dry_run=True, wait=lambda _: None)


def test_a_run_without_failed_rows_needs_no_retry(world: World) -> None:
    world.ended()

    done = retries.retry(world.deployment, EXECUTION)

    assert (done.rows, done.execution, world.states.started) == (0, "", {})


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (KEYS.summary, "^The run 'run-1' has no summary: "),
        (KEYS.plan, "The plan of run-1 has expired"),
    ],
)
def test_a_run_that_left_too_little_cannot_be_retried(world: World, gone: str, said: str) -> None:
    world.store.delete(gone)

    with pytest.raises(ClientError, match=said):
        retries.retry(world.deployment, EXECUTION)


def test_the_command_says_how_many_rows_run_and_as_what(world: World, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps(OUTPUTS))
    command = ["--outputs", str(outputs), "retry", EXECUTION]

    shown = CliRunner().invoke(cli.app, [*command, "--name", "again"])
    tried = CliRunner().invoke(cli.app, [*command, "--name", "again", "--dry-run"])
    as_json = CliRunner().invoke(cli.app, [*command, "--name", "again", "--json"])
    world.ended()
    nothing = CliRunner().invoke(cli.app, command)

    follow = "Follow it: make run ENV=stage FOLLOW=again"
    assert shown.output.splitlines() == ["3 of 50 rows of run-1 run again as again.", follow]
    assert tried.output.splitlines() == [
        "3 of 50 rows of run-1 would run again as again, for 0.01 USD to 0.5 USD. Nothing was started.",
        "Of the 50 rows of run-1, 47 were successful.",
    ]
    assert json.loads(as_json.output)["execution"] == "again"
    assert nothing.output == "Nothing to retry: all 50 rows of run-1 were successful.\n"
