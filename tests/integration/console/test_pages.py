"""The pages of the console: what they show, what their forms do, and what they say when AWS does not answer."""

from __future__ import annotations

import html
import json
import re
import threading
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import NoCredentialsError

from batch_processor_client import runs, targets
from batch_processor_client.console import run_pages
from batch_processor_client.console.followers import Followers
from batch_processor_client.console.guard import Secret
from batch_processor_client.console.page import attachment
from row_batches.document.plan import Keys
from row_batches.run.runs import Approval
from tests.integration.console.browser import PORT, TOKEN
from tests.integration.console.conftest import HOSTILE, IMAGE, LONG, World
from tests.unit.client.fakes import refusal

ENDED = {"status": "SUCCEEDED", "output": json.dumps({"total_rows": 12})}
TAGS = re.compile(r"<[^>]+>")


def plain(page: str) -> str:
    """What a person reads on a page."""
    return re.sub(r"\s+", " ", html.unescape(TAGS.sub(" ", page)))


class Markup(HTMLParser):
    """The tags of a page or of a part of one, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    @classmethod
    def of(cls, page: str) -> Markup:
        parser = cls()
        parser.feed(page)
        parser.close()
        return parser

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def strange(self) -> list[tuple[str, dict[str, str | None]]]:
        """The tags that no template of ours has: scripts and images of others, handlers, styles."""
        return [
            (tag, attributes)
            for tag, attributes in self.tags
            if tag in ("b", "iframe", "style", "object")
            or (tag in ("script", "img") and not str(attributes.get("src")).startswith("/static/"))
            or any(name == "style" or name.startswith("on") for name in attributes)
        ]


def has_only_our_markup(page: str) -> bool:
    """Whether a page has no tag of a cell, no inline script, style or handler."""
    return Markup.of(page).strange() == []


def test_the_list_shows_each_run_with_its_state_progress_and_cost(world: World) -> None:
    page = plain(world.browser.get("/runs").text)
    assert "day-run running 5 of 12 1" in page
    assert "night-run succeeded with failures 12 of 12 3 0.031 USD sentiment 2026-11-27 22:00" in page
    assert page.index("day-run") < page.index("night-run")


def test_the_list_is_filtered_and_goes_on_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "day-run" not in world.browser.get("/runs?state=SUCCEEDED_WITH_FAILURES").text
    assert "No run matches" in world.browser.get("/runs?target=nobody").text
    monkeypatch.setattr(run_pages, "RUNS_A_PAGE", 1)
    first = world.browser.get("/runs").text
    older = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    assert "night-run" not in first
    assert "night-run" in world.browser.get(older).text
    assert world.browser.get("/runs?cursor=mine").status == 503


def test_a_run_that_goes_on_shows_its_progress_and_its_rows(world: World) -> None:
    page = world.browser.get("/runs/day-run").text
    assert 'data-follow="/runs/day-run/progress"' in page
    assert "5 of 12" in page
    assert "Stop this run" in page
    assert "Retry" not in page
    shown = world.browser.get("/runs/day-run/progress").json()
    assert (shown["done"], shown["failed"], shown["total"], shown["ended"]) == (5, 1, 12, False)


@pytest.mark.parametrize("name", ["day-run", "night-run"])
def test_cells_and_errors_are_text_whatever_they_hold(world: World, name: str) -> None:
    if name == "night-run":
        world.states.descriptions = [ENDED]
    page = world.browser.get(f"/runs/{name}").text
    assert has_only_our_markup(page)
    for cell in HOSTILE:
        assert html.escape(cell, quote=False) in page.replace("&#34;", '"').replace("&#39;", "'")
    assert f"{len(LONG):,} characters" in page


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        ("COPIED", "", "Copied to s3://theirs/out/night-run/"),
        (
            "FAILED",
            "s3:PutObject is denied",
            "The copy to s3://theirs/out/night-run/ failed: s3:PutObject is denied. The files are complete here.",
        ),
    ],
)
def test_a_run_shows_where_its_output_was_copied_to_or_why_not(
    world: World, status: str, reason: str, said: str
) -> None:
    delivery = {"s3_uri": "s3://theirs/out/night-run/", "status": status, "reason": reason}
    output = {"total_rows": 12, "delivery": delivery}
    world.states.descriptions = [{"status": "SUCCEEDED", "output": json.dumps(output)}]
    assert said in plain(world.browser.get("/runs/night-run").text)


def test_names_in_the_address_are_text(world: World) -> None:
    world.states.descriptions = []
    page = world.browser.get("/runs/%3Cimg%20src=x%20onerror=alert(1)%3E")
    assert page.status == 503
    assert has_only_our_markup(page.text)
    assert "There is no execution" in page.text
    assert has_only_our_markup(world.browser.get("/runs?target=%22%3E%3Cscript%3E").text)


FILES = {
    "output.csv": "text/csv; charset=utf-8",
    "output.xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "output.jsonl": "application/x-ndjson",
    "output/part-00001.parquet": "application/vnd.apache.parquet",
    "failed_rows.csv": "text/csv; charset=utf-8",
}


def test_every_file_of_a_run_is_downloaded_when_it_has_ended(world: World) -> None:
    world.states.descriptions = [ENDED]
    for path in FILES:
        world.objects.put(f"results/night-run/{path}", f"content of {path}".encode())
    page = world.browser.get("/runs/night-run").text
    for path, media_type in FILES.items():
        assert f'href="/runs/night-run/download/{path}"' in page
        file = world.browser.get(f"/runs/night-run/download/{path}")
        assert (file.body, file.headers["content-type"]) == (f"content of {path}".encode(), media_type)
        name = "night-run-" + path.replace("/", "-")
        assert file.headers["content-disposition"].startswith(f'attachment; filename="{name}"')
    missing = world.browser.get("/runs/day-run/download/output.csv")
    assert (missing.status, "There is no s3://results/results/day-run/output.csv" in missing.text) == (404, True)
    assert world.browser.get("/runs/night-run/download/plan.json").status == 404  # it is in another folder


@pytest.mark.parametrize("name", ['a "b" \\ c', "résumé 履歴", "a\r\nSet-Cookie: x=1", "x'); y", "a;b=c%41"])
def test_the_name_of_a_download_is_one_header_that_gives_the_name_back(name: str) -> None:
    header = attachment(name)
    plain_name, _, extended = header.removeprefix('attachment; filename="').partition("\"; filename*=UTF-8''")
    assert unquote(extended) == name
    assert re.fullmatch(r"[A-Za-z0-9._ -]+", plain_name)
    assert header.isascii()
    assert header.isprintable()


def test_causes_are_shown_with_their_cure_and_healed_by_a_new_run(world: World) -> None:
    world.states.descriptions = [ENDED]
    page = plain(world.browser.get("/runs/night-run").text)
    assert f"3 × Boom it broke {IMAGE}" in page
    assert "Rows 3, 8, 9" in page
    cause = re.findall(r'name="cause" value="([^"]+)"', world.browser.get("/runs/night-run").text)[0]
    healed = world.browser.post("/runs/night-run/heal", {"cause": cause, "action": "start"})
    assert (healed.status, healed.headers["location"]) == (303, f"/runs/{world.states.started[0]['name']}")
    assert json.loads(world.states.started[0]["input"])["execution_config"]["only_causes"] == [cause]
    nothing = world.browser.post("/runs/night-run/heal", {"action": "start"})
    assert (nothing.status, "Choose the causes to heal." in nothing.text) == (400, True)


def test_a_retry_starts_a_run_and_shows_it(world: World) -> None:
    world.states.descriptions = [ENDED]
    retried = world.browser.post("/runs/night-run/retry", {"action": "start"})
    assert (retried.status, retried.headers["location"]) == (303, "/runs/night-run-retry-1")


def test_a_stop_pulls_the_brake_at_once(world: World) -> None:
    stopped = world.browser.post("/runs/day-run/stop")
    assert stopped.headers["location"] == "/runs/day-run?done=stop"
    assert json.loads(world.objects.get(Keys("day-run").brake))["reason"].endswith("in the console")
    world.states.descriptions = [ENDED]  # the thread that waits for the end sees it
    for thread in threading.enumerate():
        if thread.name == "stop day-run":
            thread.join()


def test_the_pace_is_changed_and_a_mistake_keeps_what_was_typed(world: World) -> None:
    changed = world.browser.post("/runs/day-run/throttle", {"tokens": "3000", "rate": "60.5"})
    assert changed.headers["location"] == "/runs/day-run?done=throttle"
    live = runs.status(world.console.deployment, "day-run").live
    assert (live.tokens_per_minute, live.rows_per_minute) == (3000, 60.5)
    for typed in ({"concurrency": "2.5"}, {"rate": "-1"}, {"tokens": 'many"><b>'}, {}):
        page = world.browser.post("/runs/day-run/throttle", typed)
        assert page.status == 400
        assert has_only_our_markup(page.text)
        for text in typed.values():
            assert f'value="{html.escape(text).replace("&quot;", "&#34;")}"' in page.text


def test_a_run_that_waits_is_answered_and_its_token_is_not_shown(world: World) -> None:
    run = world.begin("trial-run")
    asked = Approval(token="TASK-TOKEN", asked_at=run.started_at, until=run.started_at + timedelta(days=7))
    world.table.ask("trial-run", asked)
    page = world.browser.get("/runs/trial-run").text
    assert "It waits for your answer until" in page
    assert "TASK-TOKEN" not in page + world.browser.get("/runs/trial-run/progress").text
    assert world.browser.post("/runs/trial-run/approve", {"answer": "approve"}).status == 303
    assert world.states.answers == [("TASK-TOKEN", {"approved": True})]


def test_links_into_the_console_of_aws_are_those_of_the_region(world: World) -> None:
    page = world.browser.get("/runs/day-run").text
    links = re.findall(r'href="(https://[^"]+)" target="_blank" rel="noopener noreferrer"', page)
    assert len(links) == 3
    assert all(link.startswith("https://us-east-1.console.aws.amazon.com/") for link in links)


def test_targets_are_listed_and_a_row_is_tried(world: World) -> None:
    listed = plain(world.browser.get("/targets").text)
    assert "sentiment tool (lambda) text language? 0.002 USD" in listed
    assert "planner disabled agent (standard)" in listed
    page = world.browser.get("/targets/sentiment").text
    assert has_only_our_markup(page)
    assert html.escape('"text": ""').replace("&quot;", "&#34;") in page
    tried = world.browser.post("/targets/sentiment/try", {"row": '{"text": "Great!"}'})
    assert tried.status == 200
    assert has_only_our_markup(tried.text)
    assert "Great!" in json.dumps(world.lambdas.requests[0])


def test_a_row_that_cannot_be_tried_stays_in_its_field(world: World) -> None:
    page = world.browser.post("/targets/sentiment/try", {"row": '{"text": </textarea><b>'})
    assert (page.status, has_only_our_markup(page.text)) == (400, True)
    assert "ROW is not JSON" in page.text
    assert "&lt;/textarea&gt;&lt;b&gt;</textarea>" in page.text
    assert "No target is registered as" in world.browser.get("/targets/sentimnt").text


REFUSALS: dict[str, tuple[Exception, str]] = {
    "expired": (refusal("ExpiredTokenException", "Query"), "have expired. Log in again"),
    "missing": (NoCredentialsError(), "have expired. Log in again"),
    "throttled": (refusal("ThrottlingException", "Query"), "AWS throttles its answers"),
    "denied": (refusal("AccessDeniedException", "Query"), "AWS refused: "),
}


@pytest.mark.parametrize(("failure", "said"), REFUSALS.values(), ids=REFUSALS)
def test_a_page_says_what_aws_refuses_keeps_what_was_typed_and_recovers(
    world: World, monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(type(world.console.deployment), "client", refuse)
        for path in ("/runs", "/runs/day-run", "/targets", "/targets/sentiment"):
            page = world.browser.get(path)
            assert (page.status, said in page.text) == (503, True)
        assert said in world.browser.get("/runs/day-run/progress").json()["problem"]
        typed = world.browser.post("/runs/day-run/throttle", {"rate": "61"})
        assert said in typed.text
        assert 'name="rate" inputmode="decimal" value="61"' in typed.text
        healed = world.browser.post("/runs/night-run/heal", {"cause": ["a1", IMAGE], "accept_version": "1"})
        assert (said in healed.text, healed.text.count('value="1" checked')) == (True, 1)
        for cause in ("a1", html.escape(IMAGE)):
            assert f'name="cause" value="{cause}" checked' in healed.text
        assert has_only_our_markup(healed.text)
        retried = world.browser.post("/runs/night-run/retry", {"accept_version": "1"})
        assert (said in retried.text, 'value="1" checked' in retried.text) == (True, True)
        assert "Nothing is left to run" not in healed.text + retried.text
        tried = world.browser.post("/targets/sentiment/try", {"row": '{"text": "kept"}'})
        assert said in tried.text
        assert "kept" in tried.text
    assert world.browser.get("/runs").status == 200
    world.console.followers = Followers(world.console.deployment)
    assert world.browser.get("/runs/day-run/progress").status == 200


def test_a_page_does_not_wait_for_an_aws_that_is_slow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    ask, world.console.patience = runs.list_runs, 0.01
    monkeypatch.setattr(runs, "list_runs", lambda *given, **options: answered.wait() and ask(*given, **options))
    try:
        page = world.browser.get("/runs?target=sentiment")
        assert "AWS has not answered" in page.text
        assert 'name="target" value="sentiment"' in page.text
    finally:
        answered.set()
    world.console.patience = 60
    assert "night-run" in world.browser.get("/runs").text


def test_a_run_whose_progress_aws_does_not_say_in_time_is_followed_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(_: str) -> None:
        raise refusal("ThrottlingException", "DescribeExecution")

    monkeypatch.setattr(world.console.followers, "progress", throttled)
    page = world.browser.get("/runs/day-run")
    assert page.status == 503
    assert "AWS throttles its answers" in page.text
    assert 'data-follow="/runs/day-run/progress"' in page.text
    assert "Stop this run" in page.text


def test_no_page_waits_for_a_slow_aws_and_none_loses_what_was_typed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, make = threading.Event(), type(world.console.deployment).client

    def late(*given: Any, **options: Any) -> Any:
        answered.wait()
        return make(*given, **options)

    patience, world.console.patience = world.console.patience, 0.01
    monkeypatch.setattr(targets, "TRIED_SECONDS", 0.01)
    monkeypatch.setattr(type(world.console.deployment), "client", late)
    said = "AWS has not answered for 0.01 s"
    try:
        for path in ("/runs", "/runs/day-run", "/targets", "/targets/sentiment", "/targets/sentiment/schema"):
            assert said in world.browser.get(path).text, path
        typed = world.browser.post("/runs/day-run/throttle", {"rate": "61"}).text
        assert said in typed
        assert 'name="rate" inputmode="decimal" value="61"' in typed
        tried = world.browser.post("/targets/sentiment/try", {"row": '{"text": "kept"}'}).text
        assert said in tried
        assert "kept" in tried
    finally:
        answered.set()
    world.console.patience = patience
    for path in ("/runs", "/runs/day-run", "/targets", "/targets/sentiment"):
        assert world.browser.get(path).status == 200


def test_many_pages_of_a_run_ask_aws_once_a_second(world: World) -> None:
    seconds = [0.0]
    followers = Followers(world.console.deployment, clock=lambda: seconds[0])
    for _ in range(20):
        followers.progress("day-run")
    assert world.states.calls.count("DescribeExecution") == 1
    seconds[0] = 1.0
    followers.progress("day-run")
    followers.progress("day-run")
    assert world.states.calls.count("DescribeExecution") == 2


def test_a_page_that_does_not_have_the_form_of_this_console_cannot_guess_it() -> None:
    assert Secret(TOKEN, PORT).form_token != Secret(TOKEN + "x", PORT).form_token
    assert TOKEN not in Secret(TOKEN, PORT).form_token
