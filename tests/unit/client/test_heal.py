"""Why rows failed, what heals them, and the run that does it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from batch_processor_client import cli, heal
from batch_processor_client import retry as retries
from batch_processor_client.cli import healing
from batch_processor_client.errors import ClientError
from tests.support.batches import EXECUTION, KEYS
from tests.unit.client.test_retry import World as RetryWorld

CAUSES: list[dict[str, Any]] = [
    {"id": "RowTimeoutError-1", "error": "RowTimeoutError", "message": "no answer", "count": 4, "rows": [1, 2, 3, 4]},
    {"id": "ThrottledError-1", "error": "ThrottledError", "message": "slow down", "count": 3, "rows": [5, 6, 7]},
    {"id": "MappingError-1", "error": "MappingError", "message": "no JSON", "count": 2, "rows": [8, 9]},
    {"id": "other", "error": "other", "message": "", "count": 1, "rows": []},
]


class World(RetryWorld):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        monkeypatch.setattr(heal, "S3ObjectStore", lambda *_: self.store)
        self.failed_for(CAUSES)

    def failed_for(self, causes: list[dict[str, Any]] | None) -> None:
        summary: dict[str, Any] = {"total_rows": 50, "failed": 6, "timed_out": 4, "not_attempted": 1}
        if causes is not None:
            summary["failures_by_cause"] = causes
        self.store.put(KEYS.summary, json.dumps(summary).encode())

    def heal(self, *chosen: str, **options: Any) -> dict[str, Any]:
        """The document of the run that heals these causes."""
        found = heal.diagnose(self.deployment, EXECUTION)
        done = heal.heal(self.deployment, found, heal.choose(found, chosen), **options)
        return self.started(done.execution)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_each_cause_has_its_cure_and_the_price_of_its_rows_alone(world: World) -> None:
    found = heal.diagnose(world.deployment, EXECUTION)

    assert [cause.number for cause in found.causes] == [1, 2, 3]
    assert [cause.changes for cause in found.causes] == [{"timeout_seconds": 600}, {"max_concurrency": 1}, {}]
    assert [cause.after_a_fix for cause in found.causes] == [False, False, True]
    assert (found.other, found.not_attempted) == (1, 1)
    prices = [cause.worst_usd for cause in found.causes]
    assert prices == sorted(prices, reverse=True)
    assert all(0 < cause.best_usd < cause.worst_usd for cause in found.causes)


def test_the_rows_of_the_chosen_causes_run_again_with_the_changed_settings(world: World) -> None:
    settings = world.heal("1", "ThrottledError-1")["execution_config"]

    assert settings == {
        "timeout_seconds": 600,
        "max_concurrency": 1,
        "only_causes": ["RowTimeoutError-1", "ThrottledError-1"],
        "resume_from": EXECUTION,
    }


def test_a_cause_is_chosen_by_its_error_and_all_are_those_that_need_no_fix_before(world: World) -> None:
    assert world.heal("MappingError", name="a")["execution_config"]["only_causes"] == ["MappingError-1"]
    assert world.heal("all", name="b")["execution_config"]["only_causes"] == ["RowTimeoutError-1", "ThrottledError-1"]


def test_a_retry_of_a_healed_run_runs_whatever_failed(world: World) -> None:
    settings = world.plan.config.execution_config.model_copy(update={"only_causes": ["Boom"], "resume_from": "before"})
    plan = world.plan.model_copy(update={"config": world.plan.config.model_copy(update={"execution_config": settings})})
    world.store.put(KEYS.plan, plan.model_dump_json().encode())

    retries.retry(world.deployment, EXECUTION)

    assert "only_causes" not in world.started("run-1-retry-1")["execution_config"]


@pytest.mark.parametrize(("chosen", "message"), [("4", r"1 \(RowTimeoutError-1\)"), ("Boom", "No row of run-1")])
def test_a_cause_that_the_run_does_not_have_is_refused(world: World, chosen: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        world.heal(chosen)


def test_without_a_cause_that_another_run_heals_all_is_refused(world: World) -> None:
    world.failed_for(CAUSES[2:])
    with pytest.raises(ClientError, match="First do what the list says"):
        world.heal("all")


def test_a_run_of_the_release_before_has_no_causes(world: World) -> None:
    world.failed_for(None)
    with pytest.raises(ClientError, match="make retry"):
        heal.diagnose(world.deployment, EXECUTION)


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(healing, "deployment_of", lambda _: world.deployment)
    return lambda *arguments, **options: CliRunner().invoke(cli.app, ["heal", EXECUTION, *arguments], **options)


def test_without_a_terminal_the_causes_are_listed_and_nothing_is_started(world: World, command: Any) -> None:
    done = command()

    assert done.exit_code == 0
    assert done.output.splitlines()[:3] == [
        "1. 4 × RowTimeoutError: no answer",
        "      rows 1, 2, 3, 4",
        "      The row's time ran out. Run these rows again with a longer timeout_seconds, or make the target faster.",
    ]
    assert '{"timeout_seconds": 600}' in done.output
    assert world.states.started == {}


def test_on_a_terminal_the_chosen_causes_are_healed(
    world: World, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "has_terminal", lambda: True)

    assert command(input="\n").exit_code == 0
    assert world.states.started == {}
    done = command(input="1, 3\n")

    assert done.exit_code == 0
    assert "7 of 50 rows of run-1 run again as run-1-retry-1" in done.output
    assert "MappingError-1: The row could not be mapped." in done.output
    assert world.started("run-1-retry-1")["execution_config"]["only_causes"] == ["RowTimeoutError-1", "MappingError-1"]


def test_a_dry_run_shows_the_estimate(world: World, command: Any) -> None:
    done = command("--cure", "1", "--dry-run")

    assert done.output.splitlines() == [
        '3 of 50 rows of run-1 would run again as run-1-retry-1 with {"timeout_seconds": 600}, '
        "for 0.01 USD to 0.5 USD. Nothing was started.",
        "Of the 50 rows of run-1, 47 were successful.",
    ]
    assert [json.loads(document)["dry_run"] for document in world.states.started.values()] == [True]


def test_the_list_and_the_run_can_be_had_as_json(command: Any) -> None:
    assert [cause["count"] for cause in json.loads(command("--json").output)["causes"]] == [4, 3, 2]
    assert json.loads(command("--json", "--cure", "2").output)["execution"] == "run-1-retry-1"
