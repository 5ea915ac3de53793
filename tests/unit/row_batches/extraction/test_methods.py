"""Every shape of answer against every method: which fields it yields, and what it says when it yields none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from row_batches.extraction import transforms
from row_batches.extraction.content_blocks import content_of, find_json
from row_batches.extraction.extractor import Extractor
from row_batches.extraction.methods import METHOD_OF
from row_batches.extraction.rules import ExtractionRules

REPOSITORY = Path(__file__).resolve().parents[4]
ANSWERS = REPOSITORY / "tests" / "data" / "answers"
BROADBAND = sorted(path.stem for path in (ANSWERS / "broadband-agent-rust").glob("*.json"))
WEB_SEARCH = sorted(path.stem for path in (ANSWERS / "web-search-agent").glob("*.json"))

CONFIGURATION = r"""
output_mappings:
  broadband-agent-rust:
    extraction_methods:
      - method: structured_output
        tool_name: print_output
        field_mappings: {exchange: "$.exchange", download_speed: "$.speeds.download"}
      - method: tool_result
        tool_name: browser_broadband
        field_mappings: {exchange: "$.content | parse('Exchange: (.+)')", download_speed: "$.content | parse('Download Speed: (.+)')"}
      - method: jmespath
        paths: {exchange: "messages[-1].content[0].text", transform: parse_text}
  web-search-agent:
    extraction_methods:
      - method: results_array
        field_mappings: {title: "results[0].title", url: "results[0].url", snippet: "results[0].snippet"}
"""  # noqa: E501 (as documented)


def extractor(*methods: dict[str, Any], **rules: Any) -> Extractor:
    read = ExtractionRules.model_validate({"extraction_methods": list(methods), **rules})
    assert ExtractionRules.model_validate_json(read.model_dump_json()) == read
    return Extractor(read.extraction_methods, read.transforms)


def configured(agent: str) -> Extractor:
    return extractor(**yaml.safe_load(CONFIGURATION)["output_mappings"][agent])


def answer_of(agent: str, shape: str) -> tuple[Any, Any]:
    """An answer and its payload."""
    answer = json.loads((ANSWERS / agent / f"{shape}.json").read_text(encoding="utf-8"))
    return answer, answer["data"] if isinstance(answer, dict) and "result" in answer else answer


def test_a_text_is_scanned_once_for_all_fields_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []

    def scan(text: str) -> Any:
        scanned.append(text)
        return find_json(text)

    monkeypatch.setattr(transforms, "find_json", scan)
    text = f"Exchange: {uuid4()}\nSpeed: 67 Mbps\nTown: Deal"
    paths = dict.fromkeys(("exchange", "speed", "town"), "messages[-1].content[0].text")
    several = extractor({"method": "jmespath", "paths": {**paths, "transform": "parse_text"}})

    found = several.extract({"messages": [{"content": [{"text": text}]}]}, {})

    assert (found.fields["speed"], found.fields["town"]) == ("67 Mbps", "Deal")
    assert scanned == [text]


EXCHANGE, SPEED = {"exchange": "CANTERBURY"}, {"download_speed": "67.5 Mbps"}
STRUCTURED = {
    "method": "structured_output",
    "field_mappings": {"exchange": "$.exchange", "download_speed": "$.speeds.download"},
}
TOOL_RESULT = {
    "method": "tool_result",
    "tool_name": "browser_broadband",
    "field_mappings": {
        "exchange": "$.content | parse('Exchange: (.+)')",
        "download_speed": "$.content | parse('Download Speed: (.+)')",
    },
}
JMESPATH = {"method": "jmespath", "paths": {"exchange": "messages[-1].content[0].text", "transform": "parse_text"}}
DIRECT = {"method": "direct", "field_mappings": {"exchange": "$.exchange", "download_speed": "$.speeds.download"}}
RESULTS = {"method": "results_array", "field_mappings": {"title": "results[0].title", "last": "$.results[-1].url"}}

YIELDED: dict[str, dict[str, dict[str, str]]] = {
    "bare": {"direct": EXCHANGE | SPEED},
    "converse_messages": {"tool_result": EXCHANGE | SPEED, "jmespath": EXCHANGE},
    "converse_response": {"structured_output": EXCHANGE | SPEED},
    "json_text_in_a_field": {"structured_output": EXCHANGE | SPEED, "tool_result": EXCHANGE | SPEED},
    "last_text_only": {"jmespath": EXCHANGE},
    "messages_in_result_data": {"tool_result": EXCHANGE | SPEED},
    "nothing_found": {},
    "print_output_in_messages": {"structured_output": EXCHANGE | SPEED, "tool_result": EXCHANGE | SPEED},
    "result_data_metadata": {"direct": EXCHANGE | SPEED},
    "structured_output": {"structured_output": EXCHANGE | SPEED},
    "text_in_messages": {"tool_result": EXCHANGE | SPEED},
}
"""By shape and method. ``jmespath`` finds texts that say more than the value, but does not take them for it."""
JMESPATH_TAKES_THE_SENTENCE = {"text_in_messages", "messages_in_result_data"}
"""Their last message is one line without a label: that is the value, as far as ``parse_text`` can tell."""
JMESPATH_TAKES_A_WORD = {"print_output_in_messages", "json_text_in_a_field"}


@pytest.mark.parametrize("shape", BROADBAND)
@pytest.mark.parametrize("method", [STRUCTURED, TOOL_RESULT, JMESPATH, DIRECT, RESULTS], ids=lambda one: one["method"])
def test_each_method_yields_what_the_shape_of_the_answer_has_for_it(shape: str, method: dict[str, Any]) -> None:
    name = method["method"]
    expected = dict(YIELDED[shape].get(name, {}))
    if name == "jmespath" and shape in JMESPATH_TAKES_THE_SENTENCE:
        expected = {"exchange": "The line is served by the exchange CANTERBURY at 67.5 Mbps."}
    if name == "jmespath" and shape in JMESPATH_TAKES_A_WORD:
        expected = {"exchange": "Done."}

    extracted = extractor(method).extract(*answer_of("broadband-agent-rust", shape))

    assert extracted.fields == expected
    assert extracted.methods == dict.fromkeys(expected, name)
    assert extracted.missing == [field for field in extractor(method).fields if field not in expected]


def in_pascal_case(value: Any) -> Any:
    """Bedrock's answer as a state machine gets it. The document that a model writes keeps its keys."""
    if isinstance(value, list):
        return [in_pascal_case(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {f"{k[0].upper()}{k[1:]}": v if k in ("input", "json") else in_pascal_case(v) for k, v in value.items()}


@pytest.mark.parametrize("shape", [shape for shape in BROADBAND if shape.startswith("converse")])
@pytest.mark.parametrize("method", [STRUCTURED, TOOL_RESULT, DIRECT], ids=lambda one: one["method"])
def test_converse_in_a_state_machine_is_read_as_elsewhere(shape: str, method: dict[str, Any]) -> None:
    answer = in_pascal_case(answer_of("broadband-agent-rust", shape)[0])

    assert extractor(method).extract(answer, answer).fields == YIELDED[shape].get(method["method"], {})


def test_json_in_the_text_of_converse_in_a_state_machine_is_read() -> None:
    message = {"Role": "assistant", "Content": [{"Text": '```json\n{"exchange": "CANTERBURY"}\n```'}]}
    answer = {"Output": {"Message": message}, "StopReason": "end_turn", "Usage": {"InputTokens": 120}}

    assert extractor(DIRECT).extract(answer, answer).fields == EXCHANGE
    path = {"method": "direct", "field_mappings": {"exchange": "$.Output.Message.Content[0].Text | json"}}
    assert extractor(path).extract(answer, answer).fields == {"exchange": EXCHANGE}
    assert extractor(DIRECT).explain(answer, answer)[0].where == "the text at output.message[0].content[0]"


@pytest.mark.parametrize("shape", BROADBAND)
def test_a_method_that_yields_nothing_says_why(shape: str) -> None:
    methods = [STRUCTURED, TOOL_RESULT, JMESPATH, DIRECT, RESULTS]

    attempts = extractor(*methods).explain(*answer_of("broadband-agent-rust", shape))

    assert {attempt.method for attempt in attempts} == set(METHOD_OF)
    assert all(attempt.where if attempt.found else attempt.reason for attempt in attempts)


@pytest.mark.parametrize("shape", WEB_SEARCH)
def test_the_documented_search_agent_yields_its_first_result_in_every_shape(shape: str) -> None:
    extracted = configured("web-search-agent").extract(*answer_of("web-search-agent", shape))

    if shape == "no_results":
        assert extracted.missing == ["title", "url", "snippet"]
    else:
        assert extracted.fields == {
            "title": "Aluminium Kettle 1.7 l",
            "url": "https://shop.example/kettle",
            "snippet": "Boils in three minutes.",
        }
        assert extracted.methods == dict.fromkeys(["title", "url", "snippet"], "results_array")


FALL_THROUGH = [
    ("print_output_in_messages", {"exchange": "structured_output", "download_speed": "structured_output"}),
    ("text_in_messages", {"exchange": "tool_result", "download_speed": "tool_result"}),
    ("last_text_only", {"exchange": "jmespath"}),
    ("nothing_found", {}),
]


@pytest.mark.parametrize(("shape", "methods"), FALL_THROUGH)
def test_each_field_comes_from_the_first_of_three_methods_that_yields_it(shape: str, methods: dict[str, str]) -> None:
    extracted = configured("broadband-agent-rust").extract(*answer_of("broadband-agent-rust", shape))

    assert extracted.methods == methods
    assert extracted.fields.get("exchange") == ("CANTERBURY" if methods else None)
    assert set(extracted.missing) == {"exchange", "download_speed"} - methods.keys()


def test_methods_are_mixed_field_by_field() -> None:
    answer, payload = answer_of("broadband-agent-rust", "print_output_in_messages")
    answer["messages"][5]["content"][0]["input"] = {"exchange": None, "speeds": {"download": "67.5 Mbps"}}

    extracted = configured("broadband-agent-rust").extract(answer, payload)

    assert extracted.fields == EXCHANGE | SPEED
    assert extracted.methods == {"exchange": "tool_result", "download_speed": "structured_output"}
    assert json.loads(extracted.text) == {"methods": extracted.methods, "missing": []}


def test_the_last_call_of_print_output_counts() -> None:
    answer = answer_of("broadband-agent-rust", "print_output_in_messages")

    assert extractor(STRUCTURED).extract(*answer).fields["exchange"] == "CANTERBURY"


def test_results_that_are_errors_are_passed_over() -> None:
    answer, payload = answer_of("broadband-agent-rust", "text_in_messages")
    answer["messages"][2]["content"][0]["is_error"] = True

    attempts = extractor(TOOL_RESULT).explain(answer, payload)

    assert not any(attempt.found for attempt in attempts)
    assert attempts[0].reason == (
        "the answer has no result of browser_broadband; it has those of browser_broadband (an error)"
    )


def test_json_in_the_result_of_a_tool_is_read_by_a_path() -> None:
    content = json.dumps({"speeds": {"download": 67.5}})
    answer = {"messages": [{"role": "user", "content": [{"type": "tool_result", "name": "t", "content": content}]}]}
    mappings = {"a": "$.content.speeds.download", "b": "$.speeds.download", "c": "content.speeds.download"}

    extracted = extractor({"method": "tool_result", "field_mappings": mappings}).extract(answer, answer)

    assert extracted.fields == {"a": 67.5, "b": 67.5, "c": 67.5}


def test_the_answer_of_a_tool_is_its_own_result() -> None:
    answer = {"type": "tool_result", "tool_use_id": "x", "content": "Exchange: CANTERBURY"}

    assert extractor(TOOL_RESULT).extract(answer, answer["content"]).fields == EXCHANGE


HOSTILE = ["[@, @][]" + " | [*].[@, @][]" * 60, "items[*].to_string(@) | join(@[0], @)"]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_expression_on_a_large_answer_is_refused(path: str) -> None:
    items = [{"name": f"item {n}", "tags": ["a", "b"]} for n in range(120_000)]
    answer = {"type": "tool_result", "tool_use_id": "x", "content": "done", "items": items}

    (attempt,) = extractor({"method": "jmespath", "paths": {"a": path}}).explain(answer, answer["content"])

    assert not attempt.found
    assert "takes more than 250,000 steps" in attempt.reason


def test_a_pattern_that_would_backtrack_for_years_ends_on_a_large_text() -> None:
    # In a process of its own, because a search that backtracks cannot be interrupted.
    python_path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers" / "core" / "python")])
    environment = {**os.environ, "PYTHONPATH": python_path}

    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True, env=environment, timeout=60
    )

    assert done.stdout == "the result of a tool at the answer: the pattern '(a+)+$' does not match\n"


def main() -> None:
    """Print why a pattern with nested repetitions finds nothing in 1 MB that almost matches."""
    answer = {"type": "tool_result", "tool_use_id": "x", "content": "a" * 1_000_000 + "b"}
    method = {"method": "tool_result", "field_mappings": {"a": "$.content | parse('(a+)+$')"}}
    (attempt,) = extractor(method).explain(answer, answer["content"])
    print(attempt.reason)


@pytest.mark.parametrize("answer", [None, 1, "text", [], {}, [[]], {"messages": [None, {"content": [1, None, {}]}]}])
def test_an_answer_of_any_other_shape_yields_nothing(answer: Any) -> None:
    methods = [STRUCTURED, TOOL_RESULT, JMESPATH, DIRECT, RESULTS]

    assert extractor(*methods).extract(answer, answer).fields == {}


def test_content_that_is_nested_too_deep_for_a_text_stays_as_it_is() -> None:
    deep: Any = []
    for _ in range(5_000):
        deep = [deep]
    blocks = [{"json": deep}, {"json": 1}]

    assert content_of(blocks) is blocks


if __name__ == "__main__":
    main()
