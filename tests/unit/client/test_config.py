"""The deployment's configuration as people write it: each mistake with its line and the fix."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from batch_processor_client.cli import app, main
from batch_processor_client.config import check_config
from batch_processor_client.errors import ClientError
from batch_processor_client.yaml_files import MOST_BYTES, FileProblemsError
from tests.unit.row_batches.extraction.test_methods import CONFIGURATION

REPOSITORY = Path(__file__).resolve().parents[3]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
EXTRACTION = """output_mappings:
  web-search-agent:
    extraction_methods:
      - method: results_array
        field_mappings: {title: "results[0].title"}
"""
TWICE = EXTRACTION + "agents:\n  web-search-agent:\n    extraction: [{method: direct, field_mappings: {a: a}}]"


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "batch-processor-config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(tmp_path: Path, text: str | bytes) -> list[tuple[int, str]]:
    """Line and text of each problem."""
    with pytest.raises(FileProblemsError) as refused:
        check_config(written(tmp_path, text))
    assert all(problem.file == "batch-processor-config.yaml" for problem in refused.value.problems)
    return [(problem.line, str(problem.problem)) for problem in refused.value.problems]


def test_a_file_becomes_the_configuration(tmp_path: Path) -> None:
    text = f"storage_mode: s3\ndefaults:\n  max_concurrency: 20\n  retry_policy: {{max_attempts: 2}}\n{EXTRACTION}"
    config = check_config(written(tmp_path, text))

    assert config.execution_defaults == {
        "storage_mode": "s3",
        "max_concurrency": 20,
        "retry_policy": {"max_attempts": 2},
    }
    assert config.extraction_of("web-search-agent") == {
        "extraction_methods": [{"method": "results_array", "field_mappings": {"title": "results[0].title"}}]
    }
    assert config.extraction_of("another") == {}


def test_the_documented_list_of_methods_is_read_as_it_stands(tmp_path: Path) -> None:
    config = check_config(written(tmp_path, CONFIGURATION))

    methods = config.extraction_of("broadband-agent-rust")["extraction_methods"]
    assert [method["method"] for method in methods] == ["structured_output", "tool_result", "jmespath"]
    assert methods[0]["tool_name"] == "print_output"
    assert methods[1]["field_mappings"]["exchange"] == "$.content | parse('Exchange: (.+)')"
    assert methods[2]["paths"] == {"exchange": "messages[-1].content[0].text", "transform": "parse_text"}
    (search,) = config.extraction_of("web-search-agent")["extraction_methods"]
    assert search["field_mappings"]["snippet"] == "results[0].snippet"


@pytest.mark.parametrize("text", ["", "# only comments\n", "---\n", "{}"])
def test_a_file_that_says_nothing_is_right(tmp_path: Path, text: str) -> None:
    assert check_config(written(tmp_path, text)).execution_defaults == {}


def test_the_file_that_is_shipped_is_right_also_with_its_examples(tmp_path: Path) -> None:
    shipped = (REPOSITORY / "batch-processor-config.yaml").read_text()
    assert check_config(written(tmp_path, shipped)).execution_defaults == {}
    commented = [line.removeprefix("# ") for line in shipped.splitlines() if line.startswith("# ")]
    examples = [line for line in commented if not line[0].isupper() and not line.startswith("yaml-language-server")]
    most, _, agents = "\n".join(examples).partition("agents:")
    config = check_config(written(tmp_path, most))
    assert config.execution_defaults["max_concurrency"] == 10
    assert config.extraction_of("web-search-agent")
    assert check_config(written(tmp_path, f"agents:{agents}")).extraction_of("broadband-agent-rust")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("defaults:\n  max_concurency: 5\n", 2, "unknown field. Fix: did you mean max_concurrency?"),
        ("defaults:\n  ttl_days: '7'\n", 2, 'not a whole number (got "7"). Fix: write a whole number'),
        ("defaults:\n  max_rows: 5\n", 2, "max_rows cannot be a default of a deployment"),
        ("\ndefaults:\n  storage_mode: s3\n", 3, "Fix: write it at the top of the file"),
        ("storage_mode: s4\n", 1, 'not an allowed value (got "s4"). Fix: write one of s3, '),
        (EXTRACTION.replace("results_array", "result_array"), 4, "unknown method"),
        (EXTRACTION.replace("results_array", "result_array"), 4, "did you mean results_array?"),
        (EXTRACTION.replace("results[0].title", "$.a | stirp"), 5, "did you mean strip?"),
        (EXTRACTION.replace('"results[0].title"', "\"$.a | parse('(')\""), 5, "missing )"),
        (TWICE, 8, "output_mappings has extraction methods of web-search-agent too"),
        ("a: [1, 2\nb: 3", 2, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: *unknown", 1, "undefined alias"),
        ("just a text", 1, "not an object"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key is used twice"),
        ("a:\n  - {b: 1,\n     b: 2}\n", 3, "a[0].b: the key is used twice"),
        ("a:\n  <<: {b: 1}\n", 2, "merge keys are not allowed"),
        ("a: 1\nb: !!python/object:os.system x", 2, "tags such as"),
        ("? [a, b]\n: 1", 1, "a key is not a text"),
        ("defaults:\n  continue_on_error: no", 2, "YAML readers interpret this value differently (got no)"),
        ("defaults:\n  batch_size: 010", 2, "differently"),
        ("agents:\n  on: {}", 2, "interpret this key differently"),
        (BOMB, 5, "more than 20,000 values"),
        ("&a [*a]", 1, "nested too deep"),
        (b"a: \xff", 1, "not UTF-8"),
        ("a: \x01", 1, "special characters"),
        ("x" * (MOST_BYTES + 1), 1, "bytes"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_fix(tmp_path: Path, text: str, line: int, said: str) -> None:
    problems = refusal(tmp_path, text)
    assert any(found == line and said in message for found, message in problems), problems
    assert all("Fix: " in message for _, message in problems)


def test_every_mistake_is_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    problems = refusal(tmp_path, "storage_mode: 3\ndefaults:\n  batch_size: many\n  rate: {}\nother: 1\n")
    assert [line for line, _ in problems] == [1, 3, 4, 5]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="cannot be read"):
        check_config(tmp_path / "none.yaml")


def test_the_command_refuses_a_wrong_file_with_line_and_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "defaults:\n  max_concurency: 5\n")
    monkeypatch.setattr(sys, "argv", ["batch-processor", "config-check", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "batch-processor-config.yaml, line 2: defaults.max_concurency: unknown field" in said
    assert "Fix: did you mean max_concurrency?" in said


def test_the_command_says_what_the_file_gives(tmp_path: Path) -> None:
    path = written(tmp_path, "storage_mode: s3\ndefaults: {max_concurrency: 20}\n")
    said = CliRunner().invoke(app, ["config-check", str(path)])
    assert (said.exit_code, said.stdout) == (
        0,
        "batch-processor-config.yaml is valid. It sets storage_mode, defaults.\n",
    )
    as_json = CliRunner().invoke(app, ["config-check", str(path), "--json"])
    assert json.loads(as_json.stdout) == {"storage_mode": "s3", "defaults": {"max_concurrency": 20}}
