"""Bedrock jobs and schemas in a real browser: from the filters to the workbook, with screenshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from python_calamine import CalamineWorkbook

from batch_processor_client import jobs
from tests.integration.console.conftest import IMAGE
from tests.integration.console.jobs_console import HOSTILE_ID, JobsConsole, jobs_console
from tests.integration.console.test_in_chromium import address, chromium, inspect
from tests.support.bedrock_jobs import jobs_world, violations
from tests.support.console import needs_chromium

__all__ = ["address", "chromium"]
ATTACKS = "() => document.querySelectorAll('main img, main script, main b').length"

pytestmark = needs_chromium


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsConsole]:
    hostile = {**violations(1, first=9_000)[0], "violation_id": HOSTILE_ID}
    with jobs_world([*violations(300), hostile]) as made:
        yield jobs_console(made, monkeypatch)


@pytest.fixture
def page(address: str, chromium: Browser) -> tuple[Page, list[str]]:
    """The console's first page, and what any page says in a dialogue or to the browser's console."""
    made, said = chromium.new_page(), list[str]()
    made.on("dialog", lambda dialog: said.append(dialog.message))
    made.on("console", lambda message: said.append(message.text))
    made.goto(address)
    return made, said


def test_a_job_goes_from_its_filters_to_verified_content_and_a_workbook(
    world: JobsConsole, page: tuple[Page, list[str]]
) -> None:
    shown, said = page
    shown.get_by_role("link", name="Bedrock jobs").click()
    expect(shown.get_by_text("There are no jobs yet.")).to_be_visible()
    shown.get_by_role("link", name="New job").click()
    shown.get_by_label("osha").check()
    shown.get_by_label("Min fine amount").fill("1100")
    shown.get_by_label("Max violations").fill("0")
    shown.get_by_role("button", name="Estimate").click()
    expect(shown.get_by_text("must be at least 1")).to_be_visible()
    expect(shown.get_by_label("Min fine amount")).to_have_value("1100")
    inspect(shown, "job-mistake", heading="New job")
    shown.get_by_label("Max violations").fill("150")
    shown.get_by_role("button", name="Estimate").click()
    expect(shown.get_by_role("heading", name="What each filter leaves")).to_be_visible()
    assert jobs.list_jobs(world.deployment).jobs == []
    inspect(shown, "job-new", heading="New job")
    shown.get_by_role("button", name="Create the job").click()
    expect(shown.get_by_role("status")).to_contain_text("The job is created")
    job_id = jobs.list_jobs(world.deployment).jobs[0].job_id

    world.answer(job_id)
    stats = {"processed": 149, "errors": 1, "total": 150}
    failures = [
        {"error": "NoContent", "reason": f"it says {IMAGE}", "count": 1, "example": "OSHA-000299", "code": None}
    ]
    used = {"inputTokens": 61_200, "outputTokens": 18_340, "actualCostUSD": 0.0041}
    world.world.update(job_id, stats=stats, failures=[{**failures[0], "sameInputFails": False}], **used)
    shown.reload()
    inspect(shown, "job-going-on", heading=job_id)
    assert shown.evaluate(ATTACKS) == 0
    world.world.end(job_id)
    expect(shown.get_by_role("button", name="Read the answers again")).to_be_visible(timeout=15_000)  # by itself
    inspect(shown, "job-ended", heading=job_id)
    assert shown.evaluate(ATTACKS) == 0

    shown.get_by_role("link", name="Title").click()
    shown.get_by_label("Title").fill("Corrected by hand")
    shown.get_by_label("I verified it").check()
    inspect(shown, "job-content", heading=HOSTILE_ID)
    shown.get_by_role("button", name="Save").click()
    expect(shown.get_by_role("status")).to_contain_text("Saved.")
    assert world.content(HOSTILE_ID)["is_verified"] is True
    with shown.expect_download() as download:
        shown.get_by_role("link", name="Export to Excel").click()
    assert download.value.suggested_filename == f"{job_id}-content.xlsx"
    book = CalamineWorkbook.from_path(str(download.value.path()))
    assert book.get_sheet_by_name("Content").to_python()[1][4] == "Corrected by hand"
    shown.get_by_role("button", name="Read the answers again").click()
    expect(shown.get_by_role("button", name="Store their content")).to_be_visible()
    inspect(shown, "job-reparse", heading=job_id)
    shown.get_by_role("link", name="Bedrock jobs").first.click()
    inspect(shown, "jobs", heading="Bedrock jobs")
    assert [text for text in said if "Failed to load resource" not in text] == []  # the browser notes refusals


def test_what_was_typed_stays_while_aws_throttles_and_is_sent_then(
    world: JobsConsole, page: tuple[Page, list[str]]
) -> None:
    shown, _ = page
    shown.get_by_role("link", name="Bedrock jobs").click()
    shown.get_by_role("link", name="New job").click()
    shown.get_by_label("Max violations").fill("120")
    world.api.faults = [(429, {"message": "Too Many Requests"})]
    shown.get_by_role("button", name="Create the job").click()
    expect(shown.get_by_role("alert")).to_contain_text("AWS throttles its answers")
    expect(shown.get_by_label("Max violations")).to_have_value("120")
    inspect(shown, "job-throttled", heading="New job")
    world.api.faults = []
    shown.get_by_role("button", name="Create the job").click()
    expect(shown.get_by_role("status")).to_contain_text("The job is created")
    job_id = jobs.list_jobs(world.deployment).jobs[0].job_id
    expect(shown.locator("[data-text=done]")).to_have_text("0 of 120")

    # A page that follows a job says what is wrong, and goes on by itself.
    world.api.faults = [(429, {"message": "Too Many Requests"})]
    expect(shown.get_by_role("alert")).to_contain_text("AWS throttles its answers", timeout=15_000)
    world.api.faults = []
    world.world.end(job_id)
    expect(shown.get_by_role("button", name="Read the answers again")).to_be_visible(timeout=30_000)
    expect(shown.get_by_role("alert")).to_have_text("")


def test_a_schema_is_tried_on_a_pasted_answer(page: tuple[Page, list[str]], world: JobsConsole) -> None:
    schema = """agent: planner
version: "3"
output_format: mixed
fields:
  - name: exchange
    extraction:
      - {type: structured}
      - {type: tool_result, pattern: 'Exchange: (.+)'}
  - name: price
    extraction:
      - {type: structured}
"""
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": "t1", "content": f"Exchange: {IMAGE}"}
    answer = {"messages": [{"role": "user", "content": [result]}]}
    shown, _ = page
    shown.goto(shown.url.rpartition("/")[0] + "/targets/planner/schema")
    shown.get_by_label("Answer of").fill(json.dumps(answer, indent=2))
    shown.get_by_label("Schema, as in").fill(schema)
    shown.get_by_role("button", name="Try it").click()
    expect(shown.get_by_text("by tool_result")).to_be_visible()
    assert shown.evaluate(ATTACKS) == 0
    inspect(shown, "schema-tried", heading="Try a schema on an answer")
