"""A target is listed and tried as a run would call it: same request, same reading of the answer, same columns."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batch_processor_client.cli import app
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.targets import list_targets, row_of, rows_of_file, try_target
from tests.unit.client.fakes import OUTPUTS, fake_deployment

TOOL = {
    "name": {"S": "sentiment"},
    "type": {"S": "tool"},
    "arn": {"S": "arn:aws:lambda:us-east-1:000000000000:function:sentiment"},
    "invocation": {"S": "lambda"},
    "cost_per_call_usd": {"N": "0.002"},
    "input": {"M": {"text": {"M": {"description": {"S": "what to read"}, "required": {"BOOL": True}}}}},
}
AGENT = {
    "name": {"S": "planner"},
    "type": {"S": "agent"},
    "arn": {"S": "arn:aws:states:us-east-1:000000000000:stateMachine:planner"},
    "invocation": {"S": "standard"},
    "enabled": {"BOOL": False},
}


class FakeRegistry:
    """DynamoDB with two targets."""

    items = (TOOL, AGENT)

    def get_item(self, *, Key: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        return next(({"Item": item} for item in self.items if item["name"] == Key["name"]), {})

    def get_paginator(self, _: str) -> FakeRegistry:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"Items": list(self.items)}]


class FakeLambda:
    """Answers each call with ``answer``, or with the tool protocol around it."""

    def __init__(self, answer: Any, *, error: str = "") -> None:
        self.answer, self.error = answer, error
        self.requests: list[Any] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        self.requests.append(json.loads(Payload))
        body = {"errorType": "KeyError", "errorMessage": self.error} if self.error else self.answer
        answer = {"Payload": io.BytesIO(json.dumps(body).encode())}
        return {**answer, "FunctionError": "Unhandled"} if self.error else answer


class FakeMachine:
    """A Standard agent that runs at the first look and then ends."""

    def __init__(self, ending: dict[str, Any]) -> None:
        self.endings = [{"status": "RUNNING"}, ending]
        self.inputs: list[Any] = []

    def start_execution(self, **given: Any) -> dict[str, Any]:
        self.inputs.append(json.loads(given["input"]))
        return {"executionArn": "arn:execution"}

    def describe_execution(self, **_: Any) -> dict[str, Any]:
        return self.endings.pop(0)


def deployment_with(monkeypatch: pytest.MonkeyPatch, **clients: Any) -> Deployment:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return fake_deployment(monkeypatch, dynamodb=FakeRegistry(), **clients)


def test_targets_are_listed_with_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list_targets(deployment_with(monkeypatch))
    assert [target.name for target in found] == ["planner", "sentiment"]
    assert found[1].input["text"].description == "what to read"


def test_a_tried_row_is_mapped_called_and_read_as_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    function = FakeLambda({"label": "positive", "score": 2})
    deployment = deployment_with(monkeypatch, **{"lambda": function})
    document = {
        "input_mapping": {"column_mappings": {"review": "text"}},
        "output_mapping": {"columns": [{"name": "label", "source": "$.label"}, {"name": "gone", "source": "$.none"}]},
    }

    tried = try_target(deployment, "sentiment", {"review": "Great!"}, document)

    assert function.requests[0]["input"] == {"text": "Great!"}
    assert tried.columns == {"label": "positive", "gone": ""}
    assert tried.missing == ["gone"]
    assert (tried.status, tried.error, tried.cost_usd) == ("SUCCESS", "", 0.002)


def test_without_mappings_each_field_of_the_answer_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployment_with(monkeypatch, **{"lambda": FakeLambda({"label": "positive", "score": 2})})
    assert try_target(deployment, "sentiment", {"text": "Great!"}).columns == {"label": "positive", "score": "2"}


def test_fields_that_the_target_does_not_declare_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployment_with(monkeypatch, **{"lambda": FakeLambda({"label": "positive", "score": 2})})
    document = {"output_mapping": {"columns": [{"name": "label", "source": "$.label"}]}}
    assert try_target(deployment, "sentiment", {"text": "Great!"}).undeclared == ["label", "score"]
    assert try_target(deployment, "sentiment", {"text": "Great!"}, document).undeclared == []


def test_without_mappings_the_columns_are_those_that_the_target_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    column = {"M": {"name": {"S": "text"}, "source": {"S": "$.label"}, "type": {"S": "string"}}}
    other = {"M": {"name": {"S": "score"}, "type": {"S": "number"}}}
    monkeypatch.setattr(FakeRegistry, "items", ({**TOOL, "output": {"L": [column, other]}},))
    deployment = deployment_with(monkeypatch, **{"lambda": FakeLambda({"label": "positive", "score": 2, "more": 1})})
    tried = try_target(deployment, "sentiment", {"text": "Great!"})
    assert tried.columns == {"text_2": "positive", "score": "2"}
    assert tried.undeclared == []


def test_typed_values_of_a_row_reach_the_target_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    function = FakeLambda({})
    deployment = deployment_with(monkeypatch, **{"lambda": function})
    try_target(deployment, "sentiment", {"count": 3, "tags": ["a"], "text": "007"})
    assert function.requests[0]["input"] == {"count": 3, "tags": ["a"], "text": "007"}


def test_an_exception_of_the_target_is_the_error_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployment_with(monkeypatch, **{"lambda": FakeLambda(None, error="'text'")})
    tried = try_target(deployment, "sentiment", {"txt": "Great!"})
    assert (tried.status, tried.columns) == ("FAILED", {})
    assert tried.error == "KeyError: 'text'"


def test_a_standard_agent_is_started_and_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"result": "Success", "data": {"plan": "go"}, "metadata": {}}
    machine = FakeMachine({"status": "SUCCEEDED", "output": json.dumps(answer)})
    tried = try_target(deployment_with(monkeypatch, stepfunctions=machine), "planner", {"goal": "home"})
    assert machine.inputs[0]["input"] == {"goal": "home"}
    assert tried.columns == {"plan": "go"}


@pytest.mark.parametrize("cause", ["the model is gone", '{"code": 404, "message": "the model is gone"}'])
def test_an_agent_that_fails_says_why_as_in_a_run(monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    machine = FakeMachine({"status": "FAILED", "error": "NoModel", "cause": cause})
    tried = try_target(deployment_with(monkeypatch, stepfunctions=machine), "planner", {"goal": "home"})
    assert (tried.status, tried.error) == ("FAILED", "NoModel: the model is gone")
    assert tried.request["input"] == {"goal": "home"}


@pytest.mark.parametrize("name", ["csv_s3_uri", "input_s3_uri"])
def test_the_file_that_a_document_names_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    document = {name: "s3://INPUT_BUCKET/rows.csv", "output_mapping": {"columns": [{"name": "a", "source": "$.label"}]}}
    deployment = deployment_with(monkeypatch, **{"lambda": FakeLambda({"label": "positive"})})
    assert try_target(deployment, "sentiment", {"text": "Great!"}, document).columns == {"a": "positive"}


def test_an_unknown_target_is_refused_with_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match=r"Did you mean sentiment\?"):
        try_target(deployment_with(monkeypatch), "sentimnt", {"text": "x"})


def test_a_column_that_the_row_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"input_mapping": {"column_mappings": {"review": "text"}}}
    with pytest.raises(ClientError, match="no column 'review'"):
        try_target(deployment_with(monkeypatch), "sentiment", {"text": "x"}, document)


def test_the_rows_of_a_file_are_those_that_a_run_reads(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes('id;text\n1;"a\nb"\n2;Größe\n3;c\n'.encode("cp1252"))
    assert rows_of_file(path, 2) == [{"id": "1", "text": "a\nb"}, {"id": "2", "text": "Größe"}]
    path.write_text('{"id": 1}\n{"id": 2, "late": true}\n')
    assert [dict.fromkeys(row) for row in rows_of_file(path, 1)] == [{"id": None, "late": None}]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"x"'])
def test_a_row_that_is_no_object_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ClientError, match="ROW="):
        row_of(text)


@pytest.mark.parametrize(("text", "said"), [("{", "ROW is not JSON: Expecting"), ("[" * 100_000, "nested too deep")])
def test_what_is_wrong_with_the_json_of_a_row_is_said_once(text: str, said: str) -> None:
    with pytest.raises(ClientError, match=said) as refused:
        row_of(text)
    assert str(refused.value).count("JSON") == 1


@pytest.fixture
def outputs(tmp_path: Path) -> str:
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(OUTPUTS))
    return str(path)


@pytest.mark.parametrize(
    ("folder", "ending"),
    [
        ("targets/sentiment", 'targets/sentiment/target.yaml, and deploy it:\noutput:\n  - {name: "la${b}el"}\n'),
        ("targets", 'in the Terraform variable targets, and deploy it:\noutput = [{ name = "la$${b}el" }]\n'),
    ],
    ids=["a folder", "an ARN"],
)  # fmt: skip
def test_the_command_shows_how_to_declare_the_output_where_the_target_is(
    folder: str, ending: str, monkeypatch: pytest.MonkeyPatch, outputs: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    deployment_with(monkeypatch, **{"lambda": FakeLambda({"la${b}el": "positive"})})
    result = CliRunner().invoke(app, ["--outputs", outputs, "try", "sentiment", "--row", '{"text": "Great!"}'])
    assert result.output.endswith(ending)


def test_the_command_shows_request_answer_columns_time_and_cost(monkeypatch: pytest.MonkeyPatch, outputs: str) -> None:
    deployment_with(monkeypatch, **{"lambda": FakeLambda({"label": "[bold]positive"})})
    result = CliRunner().invoke(app, ["--outputs", outputs, "try", "sentiment", "--row", '{"text": "Great!"}'])
    assert result.exit_code == 0, result.output
    assert '"input": {"text": "Great!"}' in result.output
    assert "column   label = [bold]positive" in result.output
    assert "cost 0.002 USD" in result.output


def test_the_command_ends_with_1_if_a_row_would_fail(monkeypatch: pytest.MonkeyPatch, outputs: str) -> None:
    deployment_with(monkeypatch, **{"lambda": FakeLambda(None, error="no text")})
    result = CliRunner().invoke(app, ["--outputs", outputs, "try", "sentiment", "--row", '{"a": 1}', "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)[0]["status"] == "FAILED"


def test_the_command_lists_targets(monkeypatch: pytest.MonkeyPatch, outputs: str) -> None:
    deployment_with(monkeypatch)
    result = CliRunner().invoke(app, ["--outputs", outputs, "targets"])
    assert "planner (disabled)" in result.output
    assert "0.002" in result.output
    listed = json.loads(CliRunner().invoke(app, ["--outputs", outputs, "targets", "--json"]).output)
    assert [one["name"] for one in listed] == ["planner", "sentiment"]


def test_the_command_makes_a_folder_from_a_handler(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def handler(event, context): ...\n")
    folder = tmp_path / "targets"
    given = ["new-target", "mine", "--file", str(tmp_path / "mine.py"), "--folder", str(folder)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "handler.py, target.yaml" in result.output
    assert CliRunner().invoke(app, ["check-targets", "--folder", str(folder)]).output == "mine: tool, takes any input\n"
