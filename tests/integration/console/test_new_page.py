"""The page New run: what it shows of a file, a target and a tried row, and that nothing typed is lost."""

from __future__ import annotations

import html
import json
import logging
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from batch_processor_client import runs, samples
from batch_processor_client.console import new_pages
from batch_processor_client.console.new_pages import file_name
from batch_processor_client.console.page import MOST_FIELD_BYTES
from batch_processor_client.files import Transfer
from batch_processor_client.workbench import KEPT_SECONDS, Workbench
from foundation.json_text import parse_json
from tests.integration.console.browser import ORIGIN, Answer
from tests.integration.console.conftest import HOSTILE, IMAGE, LONG, RIGHT_TO_LEFT, SCRIPT, World
from tests.integration.console.test_pages import REFUSALS, Markup, plain
from tests.unit.client.fakes import EXECUTION, refusal

ROWS = f'ticket,body\r\n1,{IMAGE}\r\n2,"{SCRIPT}"\r\n3,{RIGHT_TO_LEFT}\r\n'
NAME = "a \"quoted\" 'name' <b>é.csv"


def send(world: World, action: str, **fields: Any) -> Answer:
    """What the page's script sends."""
    headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token, "content-type": "application/json"}
    return world.browser.send("POST", f"/new/{action}", json.dumps(fields).encode(), headers)


def drop(world: World, name: str, content: bytes) -> str:
    """Drop a file on the page; returns its address."""
    headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token, "x_file_name": quote(name)}
    answer = world.browser.send("POST", "/new/file", content, headers)
    assert answer.status == 200, answer.text
    return str(json.loads(answer.text.splitlines()[-1])["uri"])


def changed(world: World, document: str, change: str, **given: str) -> Any:
    answer = send(world, "look", document=document, change=change, given=given)
    assert answer.status == 200, answer.text
    return answer.json()


def document_of(answer: Any) -> Any:
    return json.loads(answer["document"])


def knows_only_what_started(world: World, monkeypatch: pytest.MonkeyPatch, description: dict[str, Any]) -> None:
    """Let Step Functions describe the executions that were started, and no other."""

    def describe(executionArn: str) -> dict[str, Any]:  # noqa: N803
        started = {one["name"]: one for one in world.states.started}
        if executionArn != EXECUTION and executionArn.rpartition(":")[2] not in started:
            raise refusal("ExecutionDoesNotExist", "DescribeExecution")
        return {**description, "input": world.states.started[-1]["input"]}

    monkeypatch.setattr(world.states, "describe_execution", describe)


@pytest.fixture
def mapped(world: World) -> Any:
    """The page after a file was dropped and a target chosen."""
    uri = drop(world, NAME, ROWS.encode("cp1252", errors="ignore"))
    answer = changed(world, "{}", "set", path="csv_s3_uri", value=uri)
    answer = changed(world, answer["document"], "target", value="sentiment")
    return changed(world, answer["document"], "map", field="text", value="body")


def test_the_page_names_the_steps_and_the_targets(world: World) -> None:
    page = world.browser.get("/new")
    assert page.status == 200
    assert '<a href="/new" aria-current="page">New run</a>' in page.text
    assert "sentiment · tool · 0.002 USD a call" in plain(page.text)
    assert "planner" not in page.text  # it is disabled
    assert page.text.count("<script") == 2
    chosen = html.unescape(world.browser.get("/new?target=sentiment").text).partition('rows="22">')[2].partition("<")[0]
    assert json.loads(chosen)["target"]["name"] == "sentiment"


def test_a_dropped_file_is_shown_as_it_was_read(world: World) -> None:
    text = "Größe;Text\r\n1;schön\r\n2;früh\r\n".encode("cp1252")
    uri = drop(world, NAME, text)
    assert boto3.client("s3").get_object(Bucket="inputs", Key=uri.removeprefix("s3://inputs/"))["Body"].read() == text
    answer = changed(world, "{}", "set", path="csv_s3_uri", value=uri)
    assert document_of(answer) == {"csv_s3_uri": uri}
    shown = plain(answer["parts"]["file"])
    for said in ("Encoding cp1252", "Between cells semicolon", "Columns 2", "Größe Text", "schön", "Windows-1252"):
        assert said in shown
    read = changed(world, answer["document"], "set", path="input_format.delimiter", type="character", value=",")
    assert "Between cells comma" in plain(read["parts"]["file"])
    again = changed(world, read["document"], "set", path="input_format.delimiter", type="character", value="")
    assert document_of(again) == {"csv_s3_uri": uri}


def test_an_address_in_s3_is_read_and_one_that_is_wrong_is_explained(world: World) -> None:
    s3 = boto3.client("s3")
    s3.put_object(Bucket="inputs", Key="many/a.csv", Body=b"id\n1\n")
    s3.put_object(Bucket="inputs", Key="many/b.csv", Body=b"id\n2\n")
    for typed, said in (
        ("s3://inputs/many/", "in 2 files"),
        ("s3://INPUT_BUCKET/many/a.csv", "Read as text in rows"),
        ("s3://inputs/none.csv", "There is no s3://inputs/none.csv"),
        ("inputs/none.csv", "is not the address of rows"),
    ):
        answer = changed(world, "{}", "set", path="csv_s3_uri", value=typed)
        assert said in plain(answer["parts"]["file"])
        assert document_of(answer) == {"csv_s3_uri": typed}  # it can be corrected


def test_columns_are_mapped_and_the_first_rows_are_shown_as_the_target_gets_them(world: World, mapped: Any) -> None:
    assert document_of(mapped)["input_mapping"] == {"column_mappings": {"body": "text"}}
    shown = plain(mapped["parts"]["target"])
    assert f'"text": "{IMAGE}"' in shown
    assert "Not sent: ticket" in shown
    unmapped = changed(world, mapped["document"], "map", field="text", value="")
    assert "input_mapping" not in document_of(unmapped)
    assert "sentiment needs text: choose the column that has it" in plain(unmapped["parts"]["problems"])
    both = changed(world, mapped["document"], "map", field="id", value="ticket")
    assert document_of(both)["input_mapping"]["column_mappings"] == {"body": "text", "ticket": "id"}


def test_a_file_that_has_the_fields_of_the_target_is_mapped_by_itself(world: World) -> None:
    chosen = changed(world, "{}", "target", value="sentiment")
    uri = drop(world, "rows.csv", b"Text,Language,other\nhi,en,x\n")
    answer = changed(world, chosen["document"], "set", path="csv_s3_uri", value=uri)
    mapping = document_of(answer)["input_mapping"]["column_mappings"]
    assert mapping == {"Text": "text", "Language": "language"}


def test_a_tried_row_gives_keys_that_become_columns(world: World, mapped: Any) -> None:
    tried = send(world, "try", document=mapped["document"], row="2").json()
    assert SCRIPT in json.dumps(world.lambdas.requests[0])
    assert 'data-value="$.mood"' in html.unescape(tried["parts"]["output"])
    answer = send(
        world,
        "look",
        document=tried["document"],
        tried=tried["tried"],
        change="add_column",
        given={"value": "$.mood"},
    ).json()
    assert document_of(answer)["output_mapping"]["columns"] == [{"name": "mood", "source": "$.mood"}]
    assert SCRIPT in plain(answer["parts"]["output"])
    wrong = send(
        world,
        "look",
        document=answer["document"],
        tried=tried["tried"],
        change="set",
        given={"path": "output_mapping.columns[0].source", "value": "$.moood"},
    ).json()
    assert "nothing there" in wrong["parts"]["output"]
    removed = changed(world, wrong["document"], "set", path="output_mapping.columns[0]", value="")
    assert "output_mapping" not in document_of(removed)


def test_formats_and_settings_are_written_into_the_document_and_what_is_there_by_hand_stays(world: World) -> None:
    document = json.dumps({"input_mapping": {"static_values": {"tone": "short"}}})
    for change, given in (
        ("format", {"name": "xlsx", "value": "true"}),
        ("format", {"name": "parquet", "value": "true"}),
        ("set", {"path": "execution_config.max_concurrency", "type": "number", "value": "20"}),
        ("trial", {"value": "10"}),
    ):
        document = changed(world, document, change, **given)["document"]
    assert json.loads(document) == {
        "input_mapping": {"static_values": {"tone": "short"}},
        "output_format": {"type": ["csv", "xlsx", "parquet"]},
        "execution_config": {"max_concurrency": 20},
        "trial": {"rows": 10, "approval": "required"},
    }
    wrong = changed(world, document, "set", path="execution_config.max_concurrency", type="number", value="many")
    assert "execution_config.max_concurrency" in plain(wrong["parts"]["problems"])
    assert 'value="many"' in wrong["parts"]["settings"]


def test_a_document_with_a_mistake_is_not_changed(world: World) -> None:
    for text, said in (("{", "The document is not JSON"), ("[]", "one JSON object")):
        answer = send(world, "look", document=text)
        assert (answer.status, said in answer.json()["problem"]) == (400, True)
    answer = send(world, "look", document="{}", change="map", given={"field": "", "value": "x"})
    assert (answer.status, answer.json()["problem"]) == (400, "Write the name of the field.")
    for path in ("", "a b", "columns[3].name"):
        assert send(world, "look", document="{}", change="set", given={"path": path, "value": "x"}).status == 400


def test_a_run_is_estimated_and_started(world: World, mapped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = {
        "total_rows": 3,
        "rows_to_run": 3,
        "warnings": [f"odd {IMAGE}"],
        "estimate": {
            "total": {"best": 0.006, "worst": 0.02},
            "parts": {"target": {"best": 0.006, "worst": 0.02}},
            "target_included": True,
            "assumptions": ["one call a row"],
        },
    }
    knows_only_what_started(world, monkeypatch, {"status": "SUCCEEDED", "output": json.dumps(planned)})
    plan = send(world, "estimate", document=mapped["document"]).json()["parts"]["plan"]
    assert "3 of 3 rows would run, for 0.006 USD if each succeeds at once, up to 0.02 USD" in plain(plan)
    assert f"odd {IMAGE}" in plain(plan)
    assert json.loads(world.states.started[0]["input"])["dry_run"] is True
    started = send(world, "start", document=mapped["document"], name="my-run")
    assert started.json() == {"location": "/runs/night-run"}  # Step Functions names what it started
    assert world.states.started[1]["name"] == "my-run"
    assert json.loads(world.states.started[1]["input"]) == json.loads(mapped["document"])


def test_every_part_shows_hostile_text_as_text(world: World) -> None:
    rows = [[cell, "x"] for cell in HOSTILE[:-2]] + [[LONG[:190_000], "x"], [HOSTILE[-1], "x"]]
    text = json.dumps([{"text": cell, f"{IMAGE}": other} for cell, other in rows])
    uri = drop(world, NAME, text.encode())
    answer = changed(world, "{}", "set", path="csv_s3_uri", value=uri)
    answer = changed(world, answer["document"], "target", value="sentiment")
    tried = send(world, "try", document=answer["document"], row="1").json()
    answer = send(world, "look", document=tried["document"], tried=tried["tried"]).json()
    page = "".join(answer["parts"].values())
    assert Markup.of(page).strange() == []
    shown = html.unescape(page)
    for cell in (IMAGE, SCRIPT, RIGHT_TO_LEFT, LONG[:190_000]):
        assert cell in shown


def test_what_the_scripts_send_needs_the_page_of_this_console(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for action in ("look", "file", "try", "estimate", "start"):
            answer = world.browser.send("POST", f"/new/{action}", b"{}", {"origin": ORIGIN, "x_form_token": "wrong"})
            assert answer.status == 403
            assert world.browser.send("POST", f"/new/{action}", b"{}", {"origin": "https://evil.example"}).status == 403
    assert "the script is not of this console" in caplog.text
    assert world.states.started == []


@pytest.mark.parametrize(("failure", "said"), REFUSALS.values(), ids=REFUSALS)
def test_a_change_that_aws_did_not_answer_can_be_sent_again(
    world: World, mapped: Any, monkeypatch: pytest.MonkeyPatch, failure: Exception, said: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(type(world.console.deployment), "client", refuse)
        broken.setattr(new_pages, "TOLD_SECONDS", 60)
        uri = "s3://inputs/other.csv"
        answer = send(world, "look", document="{}", change="set", given={"path": "csv_s3_uri", "value": uri})
        assert (answer.status, said in answer.json()["problem"]) == (503, True)
        for action in ("start", "estimate", "try"):
            answer = send(world, action, document=mapped["document"], name="x", row="1")
            assert (answer.status, said in answer.json()["problem"]) == (503, True)
        headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token, "x_file_name": "rows.csv"}
        assert world.browser.send("POST", "/new/file", b"a\n1\n", headers).status == 503
    assert changed(world, "{}", "set", path="csv_s3_uri", value=uri)["parts"]


def test_an_upload_that_takes_longer_says_how_far_it_is_and_then_where_the_file_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def upload(_: Workbench, path: Path, transfer: Transfer) -> str:
        transfer.on_progress(None, bytes_transferred=len(path.read_bytes()))
        assert told.wait(20)
        return "s3://inputs/rows.csv"

    tell = new_pages.message_of

    def note(message: dict[str, Any]) -> str:
        told.set()
        return tell(message)

    monkeypatch.setattr(Workbench, "upload", upload)
    monkeypatch.setattr(new_pages, "TOLD_SECONDS", 0.01)
    monkeypatch.setattr(new_pages, "message_of", note)
    headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token, "x_file_name": "rows.csv"}
    answer = world.browser.send("POST", "/new/file", b"a\n1\n", headers)
    first, *_, last = map(json.loads, answer.text.splitlines())
    assert (answer.status, first, last) == (200, {"sent": 4}, {"uri": "s3://inputs/rows.csv"})


def test_a_start_that_is_asked_for_again_starts_nothing_twice(
    world: World, mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = runs.start

    def slow(*given: Any) -> str:
        start(*given)
        raise REFUSALS["throttled"][0]

    knows_only_what_started(world, monkeypatch, {"status": "RUNNING"})
    with monkeypatch.context() as broken:
        broken.setattr(runs, "start", slow)
        assert send(world, "start", document=mapped["document"], name="night").status == 503
    again = send(world, "start", document=mapped["document"], name="night")
    assert again.json() == {"location": "/runs/night"}
    assert len(world.states.started) == 1
    taken = send(world, "start", document="{}", name="night")
    assert (taken.status, "exists already" in taken.json()["problem"]) == (400, True)


@pytest.mark.parametrize("of_another", [True, False], ids=["of another document", "of the same document"])
def test_a_name_that_another_run_has_is_refused_however_often_it_is_asked_for(
    world: World, mapped: Any, of_another: bool
) -> None:
    theirs = '{"target": {"name": "planner"}}' if of_another else mapped["document"]
    world.states.descriptions = [{"status": "SUCCEEDED", "input": theirs}]
    for _ in range(3):
        taken = send(world, "start", document=mapped["document"], name="night")
        assert (taken.status, "exists already" in taken.json()["problem"]) == (400, True)
    assert world.states.started == []


def test_a_run_that_another_person_started_meanwhile_is_not_taken_for_ones_own(
    world: World, mapped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> str:
        raise REFUSALS["throttled"][0]

    with monkeypatch.context() as broken:
        broken.setattr(runs, "start", refuse)
        assert send(world, "start", document=mapped["document"], name="night").status == 503
    world.states.descriptions = [{"status": "RUNNING", "input": '{"target": {"name": "planner"}}'}]
    assert send(world, "start", document=mapped["document"], name="night").status == 400


def test_what_the_script_sends_is_refused_if_it_is_too_large_or_no_object(world: World) -> None:
    large = json.dumps({"document": "x" * (MOST_FIELD_BYTES + 1)}).encode()
    bodies: list[tuple[bytes, int, str]] = [
        (large, 413, "too large"),
        (b"[]", 400, "no JSON object"),
        (b"{", 400, "no JSON object"),
        (b"\xff", 400, "no JSON object"),
        (b"[" * 100_000, 400, "no JSON object"),
        (b'{"row": ' + b"9" * 5_000 + b"}", 400, "no JSON object"),
    ]
    headers = {"origin": ORIGIN, "x_form_token": world.browser.form_token}
    pages = ("/new/look", "/new/try", "/new/estimate", "/new/start", "/runs/night-run/remap/look")
    for path in (*pages, "/runs/night-run/remap/write"):
        for body, status, said in bodies:
            answer = world.browser.send("POST", path, body, headers)
            assert (answer.status, list(answer.json())) == (status, ["problem"])
            assert said in answer.json()["problem"]


@pytest.mark.parametrize("number", ["inf", "-Infinity", "nan", "1e999", "9" * 5_000])
def test_a_number_that_json_does_not_have_is_named_and_stays_in_its_field(world: World, number: str) -> None:
    for path in ("execution_config.max_rows", "execution_config.stop_after.cost_usd"):
        answer = changed(world, "{}", "set", path=path, type="number", value=number)
        assert parse_json(answer["document"])
        assert path in plain(answer["parts"]["problems"])
        assert f'value="{number}"' in answer["parts"]["settings"]
    assert parse_json(changed(world, "{}", "trial", value=number)["document"])["trial"]["rows"] == number


def test_a_file_that_was_corrected_under_its_name_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [0.0], samples.sample_of_uri
    times: list[str] = []

    def counted(deployment: Any, uri: str, form: Any) -> Any:
        times.append(uri)
        return read(deployment, uri, form)

    monkeypatch.setattr(samples, "sample_of_uri", counted)
    world.console.workbench = Workbench(world.console.deployment, lambda: now[0])
    s3 = boto3.client("s3")
    for uri in ("s3://inputs/many/a.csv", "s3://inputs/many/", "s3://inputs/many/*.csv"):
        times.clear()
        s3.put_object(Bucket="inputs", Key="many/a.csv", Body=b"wrong\n1\n")
        document = json.dumps({"csv_s3_uri": uri})
        for seconds in (0, 0, KEPT_SECONDS, KEPT_SECONDS):
            now[0] += seconds
            assert "wrong" in plain(send(world, "look", document=document).json()["parts"]["file"])
        assert times == [uri]  # a file that stays as it is, is read once
        s3.put_object(Bucket="inputs", Key="many/a.csv", Body=b"right\n1\n")
        now[0] += KEPT_SECONDS
        assert "right" in plain(send(world, "look", document=document).json()["parts"]["file"])
        now[0] += KEPT_SECONDS


def test_a_file_keeps_its_name_but_no_folder() -> None:
    names = {
        NAME: NAME,
        "../../etc/passwd": "passwd",
        "..\\..\\x.csv": "x.csv",
        "..": "rows.csv",
        "": "rows.csv",
        "2026-*.csv": "2026-_.csv",
        "a\r\nb": "a__b",
    }
    assert {given: file_name(given) for given in names} == names
    assert len(file_name("é" * 300 + ".csv").encode()) <= 200
    assert file_name("é" * 300 + ".csv").endswith(".csv")
