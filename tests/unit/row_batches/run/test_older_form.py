"""A run that the release before left behind, in its stored form: read, resumed and mapped anew.

``tests/data/run_of_form_1`` holds its objects: rows 1 to 3 and 5 finished, row 2 FAILED, row 4 never.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import orjson
import pytest

from foundation.errors import DeploymentError
from row_batches.document.plan import Keys, Plan
from row_batches.rows.work import load_plan
from row_batches.run.end_messages import AggregateResponse, EndedRun, ExecutionStatus
from row_batches.run.remap import remap
from tests.support.fakes import FakeClock
from tests.unit.row_batches.run.test_resume import Runs, rows_of

DATA = Path(__file__).resolve().parents[3] / "data" / "run_of_form_1"
OLDER = Keys("older")


def older_run() -> Runs:
    runs = Runs()
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            runs.store.put(path.relative_to(DATA).as_posix(), path.read_bytes())
    plan = Plan.model_validate_json(runs.store.objects[OLDER.plan])
    runs.store.versions[plan.staged.key, plan.staged.version_id] = runs.store.objects[plan.staged.key]
    return runs


def test_its_answers_are_taken_over() -> None:
    runs = older_run()

    runs.run("newer", rows_of(5), ["older"])

    assert sorted(runs.called) == [2, 4]
    assert [row["said"] for row in runs.aggregate("newer")] == [text.upper() for _, text in rows_of(5)]


def test_its_output_can_be_mapped_anew() -> None:
    runs = older_run()
    mapping = {"columns": [{"name": "size", "source": "$.size"}]}

    remapped = remap("older", {"output_mapping": mapping}, objects=runs.store, clock=FakeClock())

    assert [row["size"] for row in remapped.first_rows] == ["8", "", "8", "", "8"]
    assert (remapped.total_rows, remapped.unfinished) == (5, 1)


def test_put_together_again_it_has_the_same_output_and_sends_no_letter_twice() -> None:
    runs = older_run()
    before = runs.store.objects.pop(OLDER.output)
    runs.store.delete(OLDER.checkpoint)
    runs.clock.move(0.0)

    runs.aggregate("older")

    assert runs.store.objects[OLDER.output] == before
    assert [letter["row"] for letter in runs.letters.letters] == [4]


def test_stopped_in_the_middle_it_is_finished_when_its_marked_workers_are_through() -> None:
    runs = older_run()
    for key in (OLDER.output, OLDER.failed_rows, OLDER.summary, OLDER.checkpoint):
        runs.store.delete(key)
    runs.store.put(f"{OLDER.active}000000000004", b"")
    plan = Plan.model_validate_json(runs.store.objects[OLDER.plan])
    assert plan.schema_version == 1
    end = EndedRun(
        execution_arn=plan.execution.arn,
        execution="older",
        plan_key=OLDER.plan,
        status=ExecutionStatus.ABORTED,
        ended_ms=runs.clock.now_ms(),
    )

    response = runs.finish(end)
    assert response == AggregateResponse(done=False, come_again_in_seconds=60)
    runs.store.delete(f"{OLDER.active}000000000004")

    assert runs.finish(end).done
    rows = list(csv.DictReader(io.StringIO(runs.store.objects[OLDER.output].decode(), newline="")))
    assert [row["_row_id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["_status"] for row in rows] == ["SUCCESS", "FAILED", "SUCCESS", "FAILED", "SUCCESS"]
    assert runs.summary("older")["not_attempted"] == 1


def test_a_plan_of_a_newer_form_is_refused_by_name_before_anything_is_spent() -> None:
    runs = older_run()
    plan = orjson.loads(runs.store.objects[OLDER.plan]) | {"schema_version": 99}
    runs.store.put(OLDER.plan, orjson.dumps(plan))

    with pytest.raises(DeploymentError, match=r"plan.* form 99"):
        load_plan(runs.store, OLDER.plan)
