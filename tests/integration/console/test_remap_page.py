"""The page that writes an output with other columns: tried on the kept answers, then written beside the first one."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from batch_processor_client import remap
from batch_processor_client.workbench import KEPT_SECONDS, Workbench
from row_batches.run.runs import Counts, Run, RunEnding, RunState
from tests.integration.console.browser import ORIGIN, Answer
from tests.integration.console.conftest import IMAGE, SCRIPT, World
from tests.integration.console.test_pages import ENDED, Markup, plain
from tests.support.batches import EXECUTION, STARTED_AT
from tests.unit.row_batches.run.test_remap import Execution, tool_result


def finish(world: World) -> None:
    """A run that has ended, with kept answers, one of them hostile."""
    made = Execution([["1", "a"], ["2", "b"], ["3", "c"]])
    made.finish(1, [tool_result({"size": 7, "colour": IMAGE}), tool_result({"size": 8, "colour": SCRIPT}), {}])
    made.end()
    versions = {key: world.objects.put(key, body) for key, body in made.store.objects.items()}
    staged = made.plan.staged.model_copy(update={"version_id": versions[made.plan.staged.key]})
    plan = made.plan.model_copy(update={"staged": staged})
    world.objects.put(plan.keys.plan, plan.model_dump_json().encode())
    world.table.start(Run.of_plan(plan))
    counts = Counts(succeeded=3, attempts=3)
    world.table.end(EXECUTION, RunEnding(state=RunState.SUCCEEDED, counts=counts, ended_at=STARTED_AT, cost_usd=0.0))
    world.states.descriptions = [ENDED]


def send(world: World, action: str, **fields: Any) -> Answer:
    headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token}
    return world.browser.send("POST", f"/runs/{EXECUTION}/remap/{action}", json.dumps(fields).encode(), headers)


def test_the_page_begins_with_the_columns_of_the_run(world: World) -> None:
    finish(world)
    page = world.browser.get(f"/runs/{EXECUTION}/remap")
    assert page.status == 200
    assert f"/runs/{EXECUTION}/remap" in world.browser.get(f"/runs/{EXECUTION}").text
    assert (
        'aria-label="Name of column 1" data-change="set" data-path="output_mapping.columns[0].name" value="size"'
        in (page.text)
    )
    assert Markup.of(page.text).strange() == []
    assert "Row size 1 7 2 8 3 nothing there -1" in plain(page.text)


def test_a_key_that_is_clicked_becomes_a_column_with_the_cells_of_the_first_rows(world: World) -> None:
    finish(world)
    document = json.dumps({"output_mapping": {"columns": []}})
    answer = send(
        world, "look", document=document, change="add_column", given={"value": "$.content.colour"}, row="2"
    ).json()
    assert json.loads(answer["document"])["output_mapping"]["columns"] == [
        {"name": "colour", "source": "$.content.colour"}
    ]
    assert f"1 {IMAGE} 2 {SCRIPT} 3 nothing there" in plain(answer["parts"]["remap_preview"])
    assert "<option selected>2</option>" in answer["parts"]["remap_columns"]
    for part in answer["parts"].values():
        assert Markup.of(part).strange() == []


def test_a_mistake_is_named_and_what_was_written_stays(world: World) -> None:
    finish(world)
    document = json.dumps({"output_mapping": {"columns": [{"name": "text", "source": "colour"}]}})
    answer = send(world, "look", document=document).json()
    assert answer["document"] == document
    assert "output_mapping.columns[0].source" in plain(answer["parts"]["problems"])
    assert 'value="colour"' in answer["parts"]["remap_columns"]
    assert send(world, "write", document=document).status == 400
    assert send(world, "look", document="{").status == 400


def test_the_new_output_is_written_beside_the_first_and_can_be_downloaded(world: World) -> None:
    finish(world)
    document = json.dumps({"output_mapping": {"columns": [{"name": "colour", "source": "$.colour"}]}})
    written = send(world, "write", document=document)
    assert written.json() == {"location": f"/runs/{EXECUTION}?done=remap"}
    page = html.unescape(world.browser.get(f"/runs/{EXECUTION}?done=remap").text)
    (path,) = re.findall(r'href="([^"]+/remapped/[^"]+/output.csv)"', page)
    assert world.browser.get(path).text.splitlines()[1].startswith(f"1,a,{IMAGE},")


def test_answers_that_were_kept_meanwhile_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(world)
    now, read = [0.0], remap.kept_answers
    world.console.workbench = Workbench(world.console.deployment, lambda: now[0])
    with monkeypatch.context() as earlier:
        earlier.setattr(remap, "kept_answers", lambda *given: replace(read(*given), rows=[]))
        assert "No row of this run has an answer" in send(world, "look").json()["parts"]["remap_columns"]
    assert "No row of this run has an answer" in send(world, "look").json()["parts"]["remap_columns"]
    now[0] += KEPT_SECONDS
    assert "Answer of the row" in send(world, "look").json()["parts"]["remap_columns"]


def test_a_run_whose_answers_are_gone_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    page = world.browser.get("/runs/no-run/remap")
    assert (page.status, "There is no plan of no-run" in page.text) == (503, True)
    assert send(world, "look").status == 400
