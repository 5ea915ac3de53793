"""Schemas as people write them: checked with file, line and fix, locked, tried on answers, guessed from answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from batch_processor_client.cli import app, main
from batch_processor_client.errors import ClientError
from batch_processor_client.schema_guess import guess_schema
from batch_processor_client.schemas import LOCK, check_schemas, lock_schemas, try_schema
from batch_processor_client.yaml_files import FileProblemsError, read_yaml
from row_batches.document.agent_schema import AgentSchema
from tests.unit.client.test_config import BOMB

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = REPOSITORY / "schemas"
ANSWERS = REPOSITORY / "tests" / "data" / "answers"
SCHEMA = """agent: echo
version: "1"
output_format: mixed
fields:
  - name: exchange
    extraction:
      - {type: structured}
      - type: tool_result
        pattern: 'Exchange: (.+)'
"""


def folder_of(tmp_path: Path, text: str = SCHEMA, name: str = "echo.yaml") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def refusal(folder: Path) -> list[tuple[str, int, str]]:
    """File, line and text of each problem."""
    with pytest.raises(FileProblemsError) as refused:
        check_schemas(folder)
    return [(problem.file, problem.line, str(problem.problem)) for problem in refused.value.problems]


def test_the_shipped_schemas_are_valid_and_locked() -> None:
    assert [one.schema.agent for one in check_schemas(SHIPPED)] == ["broadband-agent-rust", "web-search-agent"]


WRONG: list[tuple[str, str, int, str, str]] = [
    ('version: "1"', "version: [1]", 2, "version: not a text", "quotes"),
    ("{type: structured}", "{type: structurd}", 7, "unknown extraction type", "did you mean structured?"),
    ("'Exchange: (.+)'", "'Exchange: (.+'", 9, "not a regular expression: missing )", "RE2"),
    ("pattern: 'Exchange: (.+)'", "transform: parse_txt", 9, "unknown transform parse_txt", "did you mean parse_text?"),
    ("{type: structured}", "{type: structured", 8, "not YAML", "correct it"),
    ("output_format: mixed", "output_format: mixed\noutput_format: text", 4, "the key is used twice", "keep one"),
    ("agent: echo", "agent: other", 1, "the file is echo.yaml", "rename the file to other.yaml"),
    ("fields:", "feilds:", 4, "unknown field", "did you mean fields?"),
]


@pytest.mark.parametrize(("part", "replaced", "line", "message", "fix"), WRONG)
def test_a_mistake_is_named_with_file_line_and_fix(
    tmp_path: Path, part: str, replaced: str, line: int, message: str, fix: str
) -> None:
    found = refusal(folder_of(tmp_path, SCHEMA.replace(part, replaced)))

    assert [(file, at) for file, at, said in found if message in said and fix in said] == [("echo.yaml", line)]


def test_an_anchor_bomb_is_refused(tmp_path: Path) -> None:
    ((file, _, said),) = refusal(folder_of(tmp_path, BOMB))

    assert file == "echo.yaml"
    assert "values once its anchors are expanded" in said


def test_all_files_are_checked_before_the_check_fails(tmp_path: Path) -> None:
    folder_of(tmp_path, SCHEMA.replace("mixed", "xml"))
    folder_of(tmp_path, "[", "other.yaml")
    folder_of(tmp_path, SCHEMA, "third.yml")

    assert sorted({file for file, _, _ in refusal(tmp_path)}) == ["echo.yaml", "other.yaml", "third.yml"]


def test_a_new_version_is_locked_and_then_valid(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert refusal(folder) == [
        ("echo.yaml", 2, f"version: not in {LOCK} (got 1). Fix: run make schema-lock and commit the file")
    ]

    assert lock_schemas(folder) == ["echo 1"]
    assert lock_schemas(folder) == []
    assert [one.schema.version for one in check_schemas(folder)] == ["1"]


def test_comments_and_the_order_of_keys_change_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    lock_schemas(folder)

    folder_of(tmp_path, "# A comment.\n" + yaml.safe_dump(yaml.safe_load(SCHEMA)))

    assert len(check_schemas(folder)) == 1


def test_a_changed_schema_under_the_same_version_is_refused_and_never_locked_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    lock_schemas(folder)
    folder_of(tmp_path, SCHEMA.replace("Exchange", "Line"))

    ((file, line, said),) = refusal(folder)
    assert (file, line) == ("echo.yaml", 2)
    assert "not the one that was locked under this version" in said
    assert "give it a new version" in said
    with pytest.raises(FileProblemsError):
        lock_schemas(folder)

    folder_of(tmp_path, SCHEMA.replace("Exchange", "Line").replace('"1"', '"2"'))
    assert lock_schemas(folder) == ["echo 2"]
    assert set(json.loads((folder / LOCK).read_text())["echo"]) == {"1", "2"}


@pytest.mark.parametrize("text", ["[]", "{", '{"echo": 1}'])
def test_a_broken_lock_file_is_said(tmp_path: Path, text: str) -> None:
    folder = folder_of(tmp_path)
    (folder / LOCK).write_text(text)

    with pytest.raises(ClientError, match="Restore it from version control"):
        check_schemas(folder)


def test_trying_a_schema_says_what_each_method_finds_from_where_and_why_not() -> None:
    answer = ANSWERS / "broadband-agent-rust" / "text_in_messages.json"

    tried = try_schema("broadband-agent-rust", answer, SHIPPED)

    assert tried.cells == {"exchange": "CANTERBURY", "download_speed": "67.5 Mbps"}
    assert tried.methods == {"exchange": "tool_result", "download_speed": "tool_result"}
    said = {
        attempt.method: attempt.where or attempt.reason for attempt in tried.attempts if attempt.field == "exchange"
    }
    assert said == {
        "tool_result": "the result of browser_broadband at messages[2].content[0]",
        "structured_output": "the answer has neither a call of print_output nor structured_output; it has calls of "
        "browser_broadband",
        "direct": "the answer: $.exchange matches nothing",
    }


def test_trying_a_schema_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(ClientError, match="Did you mean web-search-agent"):
        try_schema("web-serach-agent", ANSWERS / "web-search-agent" / "bare_list.json", SHIPPED)


def test_an_answer_that_would_fail_its_row_says_so(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text('{"result": "Error", "metadata": {"error": "down"}}')

    assert "returned result Error instead of Success: down" in try_schema("web-search-agent", path, SHIPPED).refused


@pytest.mark.parametrize(("content", "is_text"), [('{"url": "a"', True), ('{"url": "a"}', False), ("", True)])
def test_an_answer_that_is_not_json_says_so(tmp_path: Path, content: str, is_text: bool) -> None:
    path = tmp_path / "answer.json"
    path.write_text(content)

    done = CliRunner().invoke(app, ["schema", "try", "web-search-agent", str(path), "--schemas", str(SHIPPED)])

    assert ("The answer is a text and not JSON" in done.stdout) is is_text


@pytest.mark.parametrize(
    ("agent", "fields"),
    [
        ("broadband-agent-rust", {"exchange": "string", "speeds_download": "string"}),
        ("web-search-agent", {"title": "string", "url": "string", "snippet": "string"}),
    ],
)
def test_a_guess_from_answers_is_a_valid_schema_that_finds_its_fields(
    tmp_path: Path, agent: str, fields: dict[str, str]
) -> None:
    guess = guess_schema(ANSWERS / agent)

    (tmp_path / f"{agent}.yaml").write_text(guess.text)
    schema = read_yaml(tmp_path / f"{agent}.yaml").check(AgentSchema, "guess")
    assert fields.items() <= {field.name: str(field.type) for field in schema.fields}.items()
    nothing_there = 2 if agent == "broadband-agent-rust" else 1
    assert all(guess.found[name] == guess.answers - nothing_there for name in fields)


def test_a_guess_finds_json_in_the_text_of_a_message(tmp_path: Path) -> None:
    for name in ("a", "b"):
        message = {"role": "assistant", "content": f'Here it is:\n```json\n{{"mood": "{name}", "score": 0.5}}\n```'}
        (tmp_path / f"{name}.json").write_text(json.dumps({"choices": [{"message": message}]}))

    guess = guess_schema(tmp_path, "chat")

    assert guess.found == {"mood": 2, "score": 2}
    fields = yaml.safe_load(guess.text)["fields"]
    assert fields[1] == {"name": "score", "type": "number", "extraction": [{"type": "direct", "path": "$.score"}]}


def test_a_guess_needs_answers_with_fields(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"has no \*\.json"):
        guess_schema(tmp_path)
    (tmp_path / "a.json").write_text('"text"')
    with pytest.raises(ClientError, match="write the schema by hand"):
        guess_schema(tmp_path)


COMMANDS = [
    (["check"], "broadband-agent-rust.yaml is valid: version 1.0.0, exchange, download_speed."),
    (["lock"], "All versions are locked already."),
    (
        ["try", "web-search-agent", str(ANSWERS / "web-search-agent" / "bare_results.json")],
        "title: 'Aluminium Kettle 1.7 l' by results_array",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), COMMANDS)
def test_the_commands_print_what_the_operations_return(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["schema", *arguments, "--schemas", str(SHIPPED)])

    assert (done.exit_code, done.exception) == (0, None)
    assert said in done.stdout


def test_the_check_refuses_a_wrong_file_with_line_and_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(tmp_path, SCHEMA.replace("(.+)", "(.+"))
    monkeypatch.setattr(sys, "argv", ["batch-processor", "schema", "check", "--schemas", str(tmp_path)])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "echo.yaml, line 9: " in said
    assert "Fix: " in said


def test_a_guess_is_printed_as_a_file() -> None:
    done = CliRunner().invoke(app, ["schema", "guess", str(ANSWERS / "web-search-agent"), "--agent", "search"])

    assert yaml.safe_load(done.stdout)["agent"] == "search"
