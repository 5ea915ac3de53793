"""The pages of Bedrock jobs over the real admin API: what they show, what their forms do, and what they never lose."""

from __future__ import annotations

import html
import io
import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from python_calamine import CalamineWorkbook

from batch_processor_client import content_edits, jobs
from batch_processor_client.console import job_forms, job_pages
from batch_processor_client.console.asking import LOG_IN, SLOWED
from batch_processor_client.errors import ClientError
from bedrock_batches.dataset import Filter, Names
from bedrock_batches.request.filters import filters_model
from bedrock_batches.violations import FILTERS
from tests.integration.console.browser import Answer
from tests.integration.console.conftest import IMAGE, RIGHT_TO_LEFT, SCRIPT
from tests.integration.console.jobs_console import HOSTILE_ID, FakeIdentity, JobsConsole, jobs_console
from tests.integration.console.test_pages import Markup, has_only_our_markup, plain
from tests.support.bedrock_jobs import jobs_world, violations
from tests.unit.client.fakes import refusal

RECORDS = 220


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobsConsole]:
    """A lake of 220 records of osha without content, of which the one with the highest fine has a hostile id."""
    hostile = {**violations(1, first=9_000)[0], "violation_id": HOSTILE_ID}
    with jobs_world([*violations(RECORDS - 1), hostile]) as made:
        console = jobs_console(made, monkeypatch)
        yield console
        console.api.settle()


def value_of(page: str, name: str) -> str:
    """The value of a hidden field, or of an input."""
    found = [tag for kind, tag in Markup.of(page).tags if kind == "input" and tag.get("name") == name]
    return str(found[0].get("value"))


def fields_of(page: str) -> set[str | None]:
    return {tag.get("name") for kind, tag in Markup.of(page).tags if kind in ("input", "select", "textarea")}


# --- a new job


def test_the_form_has_a_field_for_each_filter_of_the_registry(world: JobsConsole) -> None:
    page = world.browser.get("/jobs/new")
    assert page.status == 200
    assert {f"filters.{one.name}" for one in FILTERS} <= fields_of(page.text)
    assert {"limits.maxSpendUSD", "batch.modelId", "pricing.tokensPerRecord"} <= fields_of(page.text)
    for one in FILTERS:
        assert one.doc.replace("`", "") in plain(page.text)
    agencies = [tag for _, tag in Markup.of(page.text).tags if tag.get("name") == "filters.agencies"]
    assert [tag["value"] for tag in agencies] == ["osha", "epa"]


def test_a_new_filter_is_a_field_without_a_change_of_the_form() -> None:
    new = Filter("cities", Names, frozenset({"city"}), "list_contains($value, city)", "Only these cities.", ["Mobile"])
    (section,) = job_forms.sections_of(filters_model([*FILTERS, new]), {})[:1]
    field = next(one for one in section.fields if one.name == "cities")
    assert (field.title, field.kind, field.hint) == ("Cities", "lines", "Only these cities. One per line.")


def test_an_estimate_shows_what_each_filter_leaves_and_the_price_and_creates_nothing(world: JobsConsole) -> None:
    typed = {"filters.agencies": ["osha"], "filters.minFineAmount": "1,100", "limits.maxViolations": "110"}
    page = world.browser.post("/jobs/new", {**typed, "action": "estimate"})
    assert page.status == 200
    text = plain(page.text)
    assert "Agencies 220" in text
    assert "Min fine amount 120 −100" in text
    assert "Limits 110 −10" in text
    assert re.search(r"Records 110 Cost, at most 0\.\d+ USD", text)
    assert value_of(page.text, "filters.minFineAmount") == "1,100"
    assert 'value="osha" checked' in page.text
    assert '"minFineAmount": 1100' in html.unescape(page.text)
    assert jobs.list_jobs(world.deployment).jobs == []


def test_every_mistake_stands_at_its_field_and_nothing_typed_is_lost(world: JobsConsole) -> None:
    typed = {
        "filters.minFineAmount": "many",
        "filters.states": "TX\nOhio",
        "filters.dateRange.start": "2026-02-01",
        "filters.dateRange.end": "2026-01-01",
        "limits.maxViolations": "0",
    }
    for action in ("estimate", "create"):
        page = world.browser.post("/jobs/new", {**typed, "action": action})
        assert page.status == 400
        text = plain(page.text)
        assert "not a code of two letters: write a code such as TX" in text
        assert page.text.count('aria-invalid="true"') == 4
        assert value_of(page.text, "filters.minFineAmount") == "many"
        assert value_of(page.text, "filters.dateRange.end") == "2026-01-01"
        assert "TX\nOhio</textarea>" in page.text
    assert jobs.list_jobs(world.deployment).jobs == []


@pytest.mark.parametrize("number", ["inf", "nan", "1e999"])
def test_a_number_that_json_does_not_have_is_a_mistake_at_its_field(world: JobsConsole, number: str) -> None:
    page = world.browser.post("/jobs/new", {"filters.minFineAmount": number, "action": "estimate"})
    assert (page.status, page.text.count('aria-invalid="true"')) == (400, 1)
    assert value_of(page.text, "filters.minFineAmount") == number
    assert not {"Infinity", "NaN"} & set(re.findall(r"\w+", page.text))


def test_a_created_job_is_shown_and_another_one_begins_with_its_filters(world: JobsConsole) -> None:
    typed = {
        "filters.agencies": ["osha"],
        "filters.violationTypes": "Serious\nWillful",
        "filters.hasFatalities": "false",
        "limits.maxViolations": "110",
        "pricing.usdPer1kTokens": "0.002",
    }
    created = world.browser.post("/jobs/new", {**typed, "action": "create"})
    assert created.status == 303
    job_id = jobs.list_jobs(world.deployment).jobs[0].job_id
    assert created.headers["location"] == f"/jobs/{job_id}?done=created"
    config = jobs.get_job(world.deployment, job_id).config
    assert config["filters"] == {"agencies": ["osha"], "violationTypes": ["Serious", "Willful"], "hasFatalities": False}
    assert config["pricing"] == {"method": "flat", "tokensPerRecord": 300, "usdPer1kTokens": 0.002}
    again = world.browser.get(f"/jobs/new?like={job_id}").text
    assert "Serious\nWillful</textarea>" in again
    assert '<option value="false" selected>' in again
    assert value_of(again, "limits.maxViolations") == "110"


def test_a_job_that_no_record_is_left_for_says_which_filter_left_none(world: JobsConsole) -> None:
    page = world.browser.post("/jobs/new", {"filters.minFineAmount": "99999", "action": "create"})
    assert page.status == 400
    assert "No violations to process: Min fine amount left none." in plain(page.text)
    assert "Min fine amount 0 −220" in plain(page.text)


# --- the list and one job


def test_jobs_are_listed_with_their_counts_by_status_and_page_by_page(
    world: JobsConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There are no jobs yet." in plain(world.browser.get("/jobs").text)
    older = world.job(110)
    world.world.clock.pass_by(minutes=1)
    newer = world.job(110)
    world.world.end(older)
    page = plain(world.browser.get("/jobs").text)
    assert page.index(newer) < page.index(older)
    assert f"{older} completed 0 of 110" in page
    assert newer not in world.browser.get("/jobs?status=Completed").text
    monkeypatch.setattr(job_pages, "JOBS_A_PAGE", 1)
    first = world.browser.get("/jobs").text
    following = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    assert older not in first
    assert older in world.browser.get(following).text
    assert world.browser.get("/jobs?status=Nope").status == 503


def test_a_job_shows_its_records_with_content_and_reason_parts_and_events(world: JobsConsole) -> None:
    job_id = world.job()
    world.answer(job_id)
    page = world.browser.get(f"/jobs/{job_id}")
    text = plain(page.text)
    assert page.status == 200
    assert "Estimated cost ≤ 0." in text
    assert f"{HOSTILE_ID} osha succeeded Title {IMAGE} Description {SCRIPT} {RIGHT_TO_LEFT} safety <b>bold</b>" in text
    assert f"failed NoContent: it says {SCRIPT}" in text
    assert "Part 1 submitted: 120 records" in text
    assert f'data-follow="/jobs/{job_id}/progress" data-every="5"' in page.text
    shown = world.browser.get(f"/jobs/{job_id}/progress").json()
    assert (shown["total"], shown["ended"], shown["texts"]["state"]) == (120, False, "InProgress")
    following = html.unescape(re.findall(r'rel="next" href="([^"]+)"', page.text)[0]).partition("#")[0]
    assert "OSHA-000199" not in page.text
    assert "OSHA-000199" in world.browser.get(following).text


def test_an_ended_job_shows_tokens_cost_and_why_records_failed(world: JobsConsole) -> None:
    job_id = world.job()
    failures = {"error": "Boom", "reason": SCRIPT, "code": 400, "count": 7, "example": IMAGE, "sameInputFails": True}
    changes = {"inputTokens": 1200, "outputTokens": 340, "actualCostUSD": 0.25, "failures": [failures]}
    world.world.update(job_id, **changes, stats={"processed": 113, "errors": 7, "total": 120})
    world.world.end(job_id)
    page = world.browser.get(f"/jobs/{job_id}").text
    assert "Tokens 1,540 Cost 0.25 USD" in plain(page)
    assert f"7 × Boom {SCRIPT} For example {IMAGE} . The same input fails again" in plain(page)
    assert "data-follow" not in page
    assert has_only_our_markup(page)


def test_a_job_is_stopped_and_its_rest_is_retried_as_the_form_says(world: JobsConsole) -> None:
    job_id = world.job()
    stopped = world.browser.post(f"/jobs/{job_id}/stop")
    assert stopped.headers["location"] == f"/jobs/{job_id}?done=stop"
    assert world.world.item(job_id)["stopRequestedAt"]
    early = world.browser.post(f"/jobs/{job_id}/retry", {"batch.maxTokens": "900"})
    assert (early.status, "has not ended" in early.text) == (400, True)
    assert value_of(early.text, "batch.maxTokens") == "900"
    world.world.end(job_id, failed=world.world.records(job_id))
    wrong = world.browser.post(f"/jobs/{job_id}/retry", {"batch.maxTokens": "900000", "maxSpendUSD": "3.5"})
    assert wrong.status == 400
    assert (value_of(wrong.text, "batch.maxTokens"), value_of(wrong.text, "maxSpendUSD")) == ("900000", "3.5")
    assert "must be at most 8,192" in plain(wrong.text)
    retried = world.browser.post(f"/jobs/{job_id}/retry", {"batch.maxTokens": "900", "maxSpendUSD": "3.5"})
    new = retried.headers["location"].removeprefix("/jobs/").partition("?")[0]
    assert (world.world.item(new)["retryOf"], new != job_id) == (job_id, True)
    assert world.world.item(new)["config"]["batch"]["maxTokens"] == 900


def test_answers_are_counted_before_their_content_is_stored(world: JobsConsole) -> None:
    job_id = world.job()
    world.world.end(job_id)
    looked = world.browser.post(f"/jobs/{job_id}/reparse", {"action": "look"}).text
    assert "3 of 4 answers without content can be read now, for 0 USD." in plain(looked)
    assert world.function.stored == [False]
    stored = world.browser.post(f"/jobs/{job_id}/reparse", {"action": "store"}).text
    assert "3 records have content now." in plain(stored)
    assert world.function.stored == [False, True]


def test_a_job_is_exported_as_a_workbook_whose_cells_are_texts(world: JobsConsole) -> None:
    job_id = world.job()
    records = world.answer(job_id)
    world.put_content(records[0], job_id, title="=1+1", tags=["a", "b"])
    file = world.browser.get(f"/jobs/{job_id}/content.xlsx")
    assert file.status == 200
    assert f"{job_id}-content.xlsx" in file.headers["content-disposition"]
    book = CalamineWorkbook.from_filelike(io.BytesIO(file.body))
    header, first, second, *rest = book.get_sheet_by_name("Content").to_python()
    assert header[:4] == ["record", "agency", "outcome", "reason"]
    assert first[:5] == [HOSTILE_ID, "osha", "Succeeded", "", "=1+1"]
    assert first[5:8] == [f"Description {SCRIPT} {RIGHT_TO_LEFT}", "a, b", False]
    assert second[2:5] == ["Failed", f"NoContent: it says {SCRIPT}", ""]
    assert len(rest) == 118
    about = {row[0]: row[1] for row in book.get_sheet_by_name("Job").to_python()[1:]}
    assert about["jobId"] == job_id
    unknown = world.browser.get("/jobs/batch-1-00000000/content.xlsx")
    assert (unknown.status, "There is no job" in unknown.text) == (503, True)


# --- content


def content_path(job_id: str, record: str) -> str:
    return f"/jobs/{job_id}/content?{urlencode({'record': record})}"


def test_content_is_edited_and_verified_as_the_lake_expects_it(world: JobsConsole) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    page = world.browser.get(content_path(job_id, record))
    assert has_only_our_markup(page.text)
    assert value_of(page.text, "title") == f"Title {IMAGE}"
    typed = {
        "record": record,
        "version": value_of(page.text, "version"),
        "title": "Corrected",
        "description": f"By hand {SCRIPT}",
        "tags": "one\r\n\r\n two ",
        "verified": "1",
        "action": "save",
    }
    saved = world.browser.post(f"/jobs/{job_id}/content", typed)
    assert saved.headers["location"] == f"/jobs/{job_id}?done=edited"
    item = world.content(record)
    assert (item["title_bedrock"], item["tags"], item["is_verified"]) == ("Corrected", ["one", "two"], True)
    assert item["generated_at"] < item["verified_at"]
    assert (item["job_id"], item["input_tokens"]) == (job_id, 10)
    assert "verified" in plain(world.browser.get(f"/jobs/{job_id}").text)


def test_a_record_is_verified_from_the_list_with_its_text_kept(world: JobsConsole) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    page = world.browser.get(f"/jobs/{job_id}").text
    fields = {name: value_of(page, name) for name in ("record", "version")}
    assert fields["record"] == record
    done = world.browser.post(f"/jobs/{job_id}/content", {**fields, "action": "verify"})
    assert done.headers["location"] == f"/jobs/{job_id}?done=verified"
    item = world.content(record)
    assert (item["is_verified"], item["title_bedrock"]) == (True, f"Title {IMAGE}")


def test_an_edit_over_a_change_of_somebody_else_is_shown_beside_it(world: JobsConsole) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    seen = value_of(world.browser.get(content_path(job_id, record)).text, "version")
    content_edits.edit_content(world.deployment, record, title="Theirs")
    mine = {
        "record": record,
        "version": seen,
        "title": "Mine",
        "description": "Mine, too",
        "tags": "t",
        "action": "save",
    }
    page = world.browser.post(f"/jobs/{job_id}/content", mine)
    assert page.status == 400
    assert "was changed meanwhile" in page.text
    assert "As it is now Theirs" in plain(page.text)
    assert value_of(page.text, "title") == "Mine"
    again = world.browser.post(f"/jobs/{job_id}/content", {**mine, "version": value_of(page.text, "version")})
    assert again.status == 303
    assert world.content(record)["title_bedrock"] == "Mine"


def test_content_that_is_changed_between_reading_and_writing_is_not_overwritten(
    world: JobsConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.answer(world.job())[0]
    before = content_edits.read_content(world.deployment, record)
    content_edits.edit_content(world.deployment, record, verified=True)
    monkeypatch.setattr(content_edits, "read_content", lambda *_: before)
    with pytest.raises(ClientError, match="was changed meanwhile"):
        content_edits.edit_content(world.deployment, record, title="Late")


def test_wrong_content_is_refused_and_kept_in_its_fields(world: JobsConsole) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    version = value_of(world.browser.get(content_path(job_id, record)).text, "version")
    typed = {"record": record, "version": version, "title": "", "description": f"kept {SCRIPT}", "tags": "x" * 101}
    page = world.browser.post(f"/jobs/{job_id}/content", typed)
    assert page.status == 400
    assert "title: String should have at least 1 character" in plain(page.text)
    assert f"kept {SCRIPT}" in html.unescape(page.text)
    assert has_only_our_markup(page.text)


# --- hostile texts, forms of others


def test_names_answers_and_cells_are_text_on_every_page(world: JobsConsole) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    pages = [
        world.browser.get("/jobs"),
        world.browser.get(f"/jobs/{job_id}"),
        world.browser.get(content_path(job_id, record)),
        world.browser.get("/jobs/%3Cimg%20src=x%20onerror=alert(1)%3E"),
        world.browser.get("/jobs?status=%22%3E%3Cscript%3E"),
        world.browser.post("/jobs/new", {"filters.violationTypes": SCRIPT, "batch.modelId": f'"{IMAGE}'}),
    ]
    assert [page.status for page in pages] == [200, 200, 200, 503, 503, 400]
    assert all(has_only_our_markup(page.text) for page in pages)


FORMS = ("new", "batch-1-a/stop", "batch-1-a/retry", "batch-1-a/reparse", "batch-1-a/content")


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_another_page_changes_nothing(world: JobsConsole, form: str) -> None:
    elsewhere: list[dict[str, Any]] = [
        {"origin": "https://evil.example"},
        {"origin": ""},
        {"sec_fetch_site": "cross-site"},
    ]
    for headers in elsewhere:
        assert world.browser.post(f"/jobs/{form}", **headers).status == 403
    assert world.browser.post(f"/jobs/{form}", {"form_token": "wrong"}).status == 403
    assert world.api.keys == []


# --- AWS that is slow, throttles, or does not know the person any more


def all_pages(world: JobsConsole, job_id: str, record: str) -> list[Answer]:
    return [world.browser.get(path) for path in ("/jobs", f"/jobs/{job_id}", content_path(job_id, record))]


def send_forms(world: JobsConsole, job_id: str, record: str) -> dict[str, Answer]:
    new = {"filters.minFineAmount": "1050", "filters.states": "TX", "request_key": "a" * 32}
    edit = {"record": record, "version": "v", "title": "My title", "description": "Mine", "tags": "t1", "verified": "1"}
    again = {"batch.maxTokens": "900", "maxSpendUSD": "3.5", "request_key": "c" * 32}
    return {
        "estimate": world.browser.post("/jobs/new", {**new, "action": "estimate"}),
        "create": world.browser.post("/jobs/new", {**new, "action": "create"}),
        "edit": world.browser.post(f"/jobs/{job_id}/content", {**edit, "action": "save"}),
        "untitled": world.browser.post(f"/jobs/{job_id}/content", {**edit, "title": "", "action": "save"}),
        "stop": world.browser.post(f"/jobs/{job_id}/stop"),
        "retry": world.browser.post(f"/jobs/{job_id}/retry", again),
    }


def assert_nothing_is_lost(forms: dict[str, Answer], said: str) -> None:
    assert {name: (form.status, said in html.unescape(form.text)) for name, form in forms.items()} == dict.fromkeys(
        forms, (503, True)
    )
    for name in ("estimate", "create"):
        assert value_of(forms[name].text, "filters.minFineAmount") == "1050"
        assert "TX</textarea>" in forms[name].text
        assert value_of(forms[name].text, "request_key") == "a" * 32
    assert value_of(forms["edit"].text, "title") == "My title"
    assert "Mine</textarea>" in forms["edit"].text
    assert "Mine</textarea>" in forms["untitled"].text
    typed = [value_of(forms["retry"].text, name) for name in ("batch.maxTokens", "maxSpendUSD", "request_key")]
    assert typed == ["900", "3.5", "c" * 32]
    assert has_only_our_markup(forms["retry"].text)
    assert 'name="verified" value="1" checked' in forms["edit"].text


class Refusing:
    """A client of AWS that refuses every operation."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __getattr__(self, operation: str) -> Any:
        def refuse(**_: Any) -> None:
            raise refusal(self._code, operation)

        return refuse


FAULTS = {
    "throttled": ((429, {"message": "Too Many Requests"}), "ThrottlingException", SLOWED),
    "expired": ((403, {"message": "Forbidden"}), "ExpiredTokenException", LOG_IN),
}


@pytest.mark.parametrize(("answer", "code", "said"), FAULTS.values(), ids=FAULTS)
def test_pages_say_that_aws_throttles_or_does_not_know_you_lose_nothing_and_recover(
    world: JobsConsole, answer: tuple[int, dict[str, Any]], code: str, said: str
) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    world.api.faults = [answer]
    world.clients |= {"dynamodb": Refusing(code), "sts": FakeIdentity()}
    for page in all_pages(world, job_id, record):
        assert (page.status, said in html.unescape(page.text)) == (503, True)
    assert said in world.browser.get(f"/jobs/{job_id}/progress").json()["problem"]
    assert_nothing_is_lost(send_forms(world, job_id, record), said)
    assert world.browser.get("/jobs/new").status == 200  # the form itself needs no AWS
    world.api.faults = []
    world.clients.clear()
    assert [page.status for page in all_pages(world, job_id, record)] == [200, 200, 200]
    assert "stopRequestedAt" not in world.world.item(job_id)


def test_a_missing_permission_is_not_taken_for_expired_credentials(world: JobsConsole) -> None:
    world.api.faults = [(403, {"message": "Forbidden"})]
    page = world.browser.get("/jobs")  # STS knows the caller
    assert "was refused (403): Forbidden" in page.text


def test_pages_do_not_wait_for_an_api_that_is_slow(world: JobsConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job()
    record = world.answer(job_id)[0]
    monkeypatch.setattr(job_pages, "CREATING_SECONDS", 0.01)
    world.console.patience, world.api.late = 0.01, threading.Event()
    slow = threading.Event()

    class Late:
        def get_item(self, **_: Any) -> Any:
            slow.wait()
            raise refusal("ThrottlingException", "GetItem")

    world.clients["dynamodb"] = Late()
    try:
        for page in all_pages(world, job_id, record):
            assert (page.status, "AWS has not answered for 0.01 s" in page.text) == (503, True)
        assert_nothing_is_lost(send_forms(world, job_id, record), "AWS has not answered for 0.01 s")
    finally:
        world.api.late.set()
        slow.set()
    world.console.patience, world.api.late = 60, None
    del world.clients["dynamodb"]
    assert [page.status for page in all_pages(world, job_id, record)] == [200, 200, 200]


def test_a_creation_whose_answer_came_too_late_is_sent_again_and_creates_nothing_twice(
    world: JobsConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "CREATING_SECONDS", 0.05)
    world.api.late = threading.Event()
    typed = {"limits.maxViolations": "110", "action": "create"}
    page = world.browser.post(
        "/jobs/new", {**typed, "request_key": value_of(world.browser.get("/jobs/new").text, "request_key")}
    )
    assert (page.status, "AWS has not answered" in page.text) == (503, True)
    world.api.late.set()
    world.api.late = None
    monkeypatch.setattr(job_pages, "CREATING_SECONDS", 60)
    created = world.browser.post("/jobs/new", {**typed, "request_key": value_of(page.text, "request_key")})
    (job,) = jobs.list_jobs(world.deployment).jobs
    assert created.headers["location"] == f"/jobs/{job.job_id}?done=created"
    assert len(set(world.api.keys)) == 1


def test_a_refused_creation_is_a_new_request_the_next_time(world: JobsConsole) -> None:
    refused = world.browser.post(
        "/jobs/new", {"limits.maxViolations": "5", "request_key": "b" * 32, "action": "create"}
    )
    assert refused.status == 400
    assert "a batch inference job takes at least 100" in plain(refused.text)
    assert value_of(refused.text, "request_key") != "b" * 32


def test_without_bedrock_batches_the_pages_say_how_to_get_them(world: JobsConsole) -> None:
    world.console.deployment = world.deployment.model_copy(update={"admin_api_url": None})
    for path in ("/jobs", "/jobs/batch-1-a"):
        assert "set bedrock_batches = true" in world.browser.get(path).text


def test_times_are_shown_in_utc_and_other_texts_stay(world: JobsConsole) -> None:
    job_id = world.job()
    created = json.loads(jobs.get_job(world.deployment, job_id).model_dump_json())["created_at"]
    assert created.startswith("2026-11-21T09:00:00")
    assert "created 2026-11-21 09:00 UTC" in plain(world.browser.get(f"/jobs/{job_id}").text)
