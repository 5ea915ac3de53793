"""The page that tries a schema on a pasted answer: the same as ``make schema-try`` shows."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from batch_processor_client import schemas
from foundation.aws.dynamodb_items import to_item
from row_batches.document.agent_schema import AgentSchema
from tests.integration.console.conftest import SCRIPT, TARGETS, World
from tests.integration.console.test_pages import has_only_our_markup, plain
from tests.unit.client.fakes import refusal

REPOSITORY = Path(__file__).resolve().parents[3]
SCHEMA = """agent: planner
version: "3"
output_format: mixed
fields:
  - name: exchange
    extraction:
      - {type: structured}
      - type: tool_result
        pattern: 'Exchange: (.+)'
  - name: price
    extraction:
      - {type: structured}
"""
ANSWER = {
    "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": f"Exchange: {SCRIPT}"}]},
    ]
}


def try_it(world: World, schema: str, answer: str) -> Any:
    return world.browser.post("/targets/planner/schema", {"schema": schema, "answer": answer})


def test_each_field_shows_which_method_found_it_where_and_why_others_did_not(world: World, tmp_path: Path) -> None:
    page = try_it(world, SCHEMA, json.dumps(ANSWER))
    assert page.status == 200
    assert has_only_our_markup(page.text)
    text = plain(page.text)
    (tmp_path / "planner.yaml").write_text(SCHEMA)
    (tmp_path / "answer.json").write_text(json.dumps(ANSWER))
    shown = schemas.try_schema("planner", tmp_path / "answer.json", tmp_path)
    assert shown.methods == {"exchange": "tool_result"}
    assert f"exchange by tool_result {SCRIPT}" in text
    assert "price missing The cell is empty." in text
    assert "version 3 of planner" in text
    for attempt in shown.attempts:
        said = f"found {json.dumps(attempt.value)} at {attempt.where}" if attempt.found else attempt.reason
        assert f"{attempt.method} found" in text
        assert " ".join(said.split()) in text
    assert "Exchange: (.+)" in html.unescape(page.text)


def test_the_page_begins_with_the_schema_that_is_registered(world: World) -> None:
    assert "Try a schema on an answer" in world.browser.get("/targets/planner").text
    shipped = yaml.safe_load((REPOSITORY / "schemas" / "web-search-agent.yaml").read_text())
    item = {**TARGETS[1], "output_schema": "web-search-agent", "output_schema_document": json.dumps(shipped)}
    boto3.client("dynamodb").put_item(TableName="registry", Item=to_item(item))
    page = world.browser.get("/targets/planner/schema")
    assert page.status == 200
    text = html.unescape(page.text)
    begun = text[text.index('name="schema"') :].partition(">")[2].partition("</textarea>")[0]
    assert schemas.parse_schema(begun) == AgentSchema.model_validate(shipped)


@pytest.mark.parametrize(
    ("schema", "answer", "said"),
    [
        (SCHEMA.replace("structured}", "structurd}"), "{}", "the schema, line 7"),
        (SCHEMA, "", "Paste an answer and a schema."),
        ("fields: [" + SCRIPT, f"kept {SCRIPT}", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_both_fields_are_kept(
    world: World, schema: str, answer: str, said: str
) -> None:
    page = try_it(world, schema, answer)
    assert (page.status, has_only_our_markup(page.text)) == (400, True)
    kept = html.unescape(page.text)
    assert said in kept
    assert schema.strip() in kept
    assert answer in kept


def test_a_text_that_is_not_json_is_an_answer_too(world: World) -> None:
    assert "exchange missing" in plain(try_it(world, SCHEMA, "Nothing found").text)


def test_a_schema_is_tried_while_aws_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise refusal("ExpiredTokenException", "GetItem")

    monkeypatch.setattr(type(world.console.deployment), "client", refuse)
    assert "exchange by tool_result" in plain(try_it(world, SCHEMA, json.dumps(ANSWER)).text)
    page = world.browser.get("/targets/planner/schema")
    assert (page.status, "Your AWS credentials" in page.text) == (503, True)


def test_a_form_of_another_page_is_refused(world: World) -> None:
    elsewhere: list[dict[str, Any]] = [{"origin": "https://evil.example"}, {"origin": ""}]
    for headers in elsewhere:
        assert world.browser.post("/targets/planner/schema", **headers).status == 403
    assert world.browser.post("/targets/planner/schema", {"form_token": "wrong"}).status == 403
