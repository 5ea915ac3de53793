"""Each handler: parses its event, calls its use case, answers JSON; its settings; its log lines."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bedrock_batches import settings as bedrock_settings
from foundation import invocation, logging, settings
from foundation.aws import factories
from row_batches.run import settings as row_settings
from row_batches.run import wiring
from row_batches.run.batch import Batches
from tests.support.batches import EXECUTION, KEYS, make_plan, staged_items
from tests.support.fakes import (
    FakeClock,
    FakeDeadLetters,
    FakeInvoker,
    FakeLeases,
    FakeMetrics,
    FakeNotifier,
    FakeObjectStore,
    FakeRedrives,
    FakeRuns,
)
from tests.unit.row_batches.run.test_process_tool_rows import echo

REPOSITORY = Path(__file__).resolve().parents[3]
HANDLERS = sorted(path.parent.name for path in (REPOSITORY / "functions").glob("*/handler.py"))
ROWS = [["1", "one"], ["2", "two"]]
ENVIRONMENT = {
    "RESULTS_BUCKET": "results",
    "POWERTOOLS_SERVICE_NAME": "batch-processor",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "DEAD_LETTER_QUEUE": "queue",
    "METRICS_NAMESPACE": "BatchProcessor",
    "NOTIFICATION_TOPIC_ARN": "topic",
    "RUNS_TABLE": "runs",
    "RESULTS_TABLE": "results",
    "ANSWERS_TABLE": "answers",
    "FINISH_MACHINE_ARN": "machine",
}


ENDED = {
    "execution_arn": "arn",
    "execution": EXECUTION,
    "plan_key": KEYS.plan,
    "status": "SUCCEEDED",
    "ended_ms": 1_790_000_000_000,
}


class Context:
    function_name = "batch-processor-test"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def handler_of(name: str) -> ModuleType:
    spec = spec_from_file_location(f"{name}_handler", REPOSITORY / "functions" / name / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class World:
    """Fakes where the wiring puts adapters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = FakeObjectStore()
        self.notifier = FakeNotifier()
        self.clock = FakeClock()
        make_plan(ROWS, store=self.store)
        batches = Batches(self.store, self.clock)
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(settings, "_loaded", {})
        monkeypatch.setattr(invocation, "clock", self.clock)
        monkeypatch.setattr(wiring, "batches", lambda *_: batches)
        monkeypatch.setattr(wiring, "invoker", lambda: FakeInvoker(echo))
        monkeypatch.setattr(wiring, "dead_letters", lambda _: FakeDeadLetters())
        monkeypatch.setattr(wiring, "leases", lambda _: FakeLeases(self.clock))
        monkeypatch.setattr(wiring, "runs", lambda _: FakeRuns())
        monkeypatch.setattr(wiring, "redrives", FakeRedrives)
        monkeypatch.setattr(factories, "metrics", lambda _: FakeMetrics())
        monkeypatch.setattr(factories, "notifier", lambda _: self.notifier)

    def call(self, name: str, event: dict[str, Any]) -> Any:
        answer = handler_of(name).handler(event, Context())
        return orjson.loads(orjson.dumps(answer))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_process_tool_rows_answers_counts(world: World) -> None:
    event = {"BatchInput": {"plan_key": KEYS.plan}, "Items": staged_items(ROWS)}

    assert world.call("process_tool_rows", event) == {
        "succeeded": 2,
        "failed": 0,
        "timed_out": 0,
        "not_attempted": 0,
        "remaining": 0,
        "come_again_in_seconds": 0,
    }


def test_an_agents_row_goes_through_map_input_and_map_output(world: World) -> None:
    reference = {"plan_key": KEYS.plan}
    made = world.call("map_input", {"BatchInput": reference, "Items": staged_items(ROWS), "Child": "child"})
    row = made["rows"][0]
    end = {
        "BatchInput": reference,
        "Row": staged_items(ROWS)[0],
        "Call": row["call"],
        "Began": "2026-01-31T12:00:00.123Z",
        "Ended": "2026-01-31T12:00:00.123Z",
    }
    answer = world.call("map_output", {**end, "Result": {"result": "Success", "data": 1}})

    assert (len(made["rows"]), made["remaining"]) == (len(ROWS), 0)
    assert row["input"]["input"] == {"id": "1", "text": "one"}
    assert answer == {"row": 1, "stop": False}
    assert KEYS.rows_object(1, 1) in world.store.objects


def test_aggregate_results_and_notify_end_the_run(world: World) -> None:
    answer = world.call("aggregate_results", {"action": "AGGREGATE", "plan_key": KEYS.plan})
    world.call("notify", ENDED)

    assert answer["done"]
    assert answer["document"]["failed"] == 2
    assert world.notifier.published[0][0] == "echo: SUCCEEDED_WITH_FAILURES"


def test_aggregate_results_takes_the_steps_of_a_trial(world: World) -> None:
    make_plan(ROWS, store=world.store, trial={"rows": 1, "approval": "required"})
    request = {"plan_key": KEYS.plan}

    staged = world.call("aggregate_results", {**request, "action": "STAGE_TRIAL"})
    reported = world.call("aggregate_results", {**request, "action": "REPORT_TRIAL"})
    answered = world.call("aggregate_results", {**request, "action": "TAKE_ANSWER", "approved": False})

    assert (staged["source"]["key"], staged["batch_size"]) == (KEYS.trial, 1)
    assert (reported["asks"], reported["goes_on"]) == (True, False)
    assert (answered["asks"], answered["goes_on"]) == (False, False)


def test_an_event_with_an_unknown_field_is_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="unknown"):
        world.call("aggregate_results", {"action": "AGGREGATE", "plan_key": KEYS.plan, "unknown": 1})


def test_a_missing_variable_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEAD_LETTER_QUEUE")

    with pytest.raises(ValidationError, match="dead_letter_queue"):
        world.call("process_tool_rows", {"BatchInput": {"plan_key": KEYS.plan}, "Items": staged_items(ROWS)})


def test_every_function_has_settings() -> None:
    assert sorted(row_settings.SETTINGS_BY_FUNCTION | bedrock_settings.SETTINGS_BY_FUNCTION) == HANDLERS


IMPORT = """
import sys
sys.path[:0] = {paths!r}
import handler
early = {{"boto3", "botocore.session", "duckdb", "re2", "ctypes", "importlib.resources"}} & sys.modules.keys()
assert not early, f"{{early}} are imported before their first use"

from pydantic import BaseModel
from foundation.lazy_model import LazyModel

def below(model):
    return {{model}}.union(*map(below, model.__subclasses__()))

packages = ("foundation", "row_batches", "bedrock_batches")
own = {{model for model in below(BaseModel) if model.__module__.partition(".")[0] in packages}}
named = lambda models: sorted(f"{{model.__module__}}.{{model.__qualname__}}" for model in models)
eager = named(model for model in own if not issubclass(model, LazyModel))
assert not eager, f"{{eager}} are built at import: derive them from LazyModel"
built = named(model for model in own if model.__pydantic_complete__)
assert not built, f"{{built}} are used at import: give their fields a default_factory instead of an instance"
"""


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handlers_import_makes_no_client_builds_no_model_and_needs_no_environment(name: str) -> None:
    paths = [str(REPOSITORY / "layers" / "core" / "python"), str(REPOSITORY / "functions" / name)]

    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(paths=paths)], stderr=subprocess.PIPE, text=True, env={"PATH": ""}
    )

    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_log_lines_are_json_with_the_invocations_keys(capsys: pytest.CaptureFixture[str]) -> None:
    logging.start_invocation("batch-processor", "INFO", request_id="r", row_id="5")
    logger = logging.LOGGER.getChild("test")

    logger.info("row not successful", extra={"status": "FAILED"})
    logger.debug("cells", extra={"cells": ["secret"]})

    (line,) = [orjson.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert line.pop("timestamp").endswith("+00:00")
    assert line.pop("location").startswith("test_log_lines_are_json")
    assert line == {
        "level": "INFO",
        "message": "row not successful",
        "service": "batch-processor",
        "request_id": "r",
        "row_id": "5",
        "status": "FAILED",
    }


def test_log_lines_carry_the_trace_and_the_exception(
    capsys: pytest.CaptureFixture[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3f;Parent=53995c3f42cd8ad8;Sampled=1")
    invocation.begin(row_settings.NotifySettings, Context())

    try:
        raise ValueError("\ud800 is half a character")
    except ValueError:
        logging.LOGGER.getChild("test").exception("not sent", extra={"at": datetime(2026, 1, 31, tzinfo=UTC)})

    (text,) = capsys.readouterr().out.splitlines()
    line = json.loads(text)
    assert line["xray_trace_id"] == "1-5759e988-bd862e3f"
    assert (line["exception_name"], line["at"]) == ("ValueError", "2026-01-31 00:00:00+00:00")
    assert "half a character" in line["exception"]
    assert "Traceback" in line["exception"]
