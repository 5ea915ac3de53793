"""Answers of agents of common frameworks: the results of their tools and their structured output are found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foundation.json_text import parse_json
from row_batches.extraction.content_blocks import find_json, json_in
from row_batches.extraction.extractor import Extracted, Extractor
from row_batches.extraction.rules import ExtractionRules

FOUND = "Exchange: CANTERBURY\nDownload Speed: 67.5 Mbps"
OUTPUT = {"exchange": "CANTERBURY", "speeds": {"download": "67.5 Mbps"}}
ARGUMENTS = json.dumps(OUTPUT)
STRUCTURED = {"exchange": "$.exchange", "download_speed": "$.speeds.download"}
RULES = ExtractionRules.model_validate(
    {
        "extraction_methods": [
            {"method": "structured_output", "field_mappings": STRUCTURED},
            {
                "method": "tool_result",
                "tool_name": "browser_broadband",
                "field_mappings": {
                    "exchange": "$.content | parse('Exchange: (.+)')",
                    "download_speed": "$.content | parse('Download Speed: (.+)')",
                },
            },
            {"method": "direct", "field_mappings": STRUCTURED},
        ]
    }
)


def langchain(*, is_error: bool = False) -> list[dict[str, Any]]:
    """Messages as ``model_dump`` writes them."""
    call = {"name": "browser_broadband", "args": {"postcode": "CT1 2EH"}, "id": "c1", "type": "tool_call"}
    status = "error" if is_error else "success"
    return [
        {"type": "human", "content": "Look up CT1 2EH.", "id": None},
        {"type": "ai", "content": "", "tool_calls": [call], "usage_metadata": None},
        {"type": "tool", "name": None, "content": FOUND, "tool_call_id": "c1", "status": status},
        {"type": "ai", "content": "The exchange is CANTERBURY.", "tool_calls": []},
    ]


LANGCHAIN_OUTPUT = {
    "type": "ai",
    "content": [{"type": "text", "text": "Done."}],
    "tool_calls": [{"name": "print_output", "args": OUTPUT, "id": "c2", "type": "tool_call"}],
}
OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "browser_broadband", "arguments": "{}"}}
OPENAI_OUTPUT = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c2", "type": "function", "function": {"name": "print_output", "arguments": ARGUMENTS}}],
}
RESPONSES = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "browser_broadband", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": FOUND},
]
CONVERSE_OUTPUT = {"toolUse": {"toolUseId": "t1", "name": "print_output", "input": OUTPUT}}
ANSWERS: dict[str, tuple[Any, str]] = {
    "LangChain": ({"messages": langchain()}, "tool_result"),
    "LangChain, messages_to_dict": (
        {"messages": [{"type": message["type"], "data": message} for message in langchain()]},
        "tool_result",
    ),
    "LangChain, dumpd": (
        {"messages": [{"lc": 1, "type": "constructor", "id": [], "kwargs": message} for message in langchain()]},
        "tool_result",
    ),
    "LangChain, print_output": ({"messages": [*langchain(), LANGCHAIN_OUTPUT]}, "structured_output"),
    "LangChain, one message": (LANGCHAIN_OUTPUT, "structured_output"),
    "LangGraph, structured_response": (
        {"messages": langchain(), "structured_response": OUTPUT},
        "structured_output",
    ),
    "OpenAI chat": (
        {
            "messages": [
                {"role": "user", "content": "Look up CT1 2EH."},
                {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": FOUND},
                {"role": "assistant", "content": "Done."},
            ]
        },
        "tool_result",
    ),
    "OpenAI chat, response": (
        {"object": "chat.completion", "choices": [{"index": 0, "message": OPENAI_OUTPUT}], "usage": {}},
        "structured_output",
    ),
    "OpenAI chat, JSON mode": (
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": ARGUMENTS}}]},
        "direct",
    ),
    "OpenAI Responses": ({"object": "response", "output": RESPONSES}, "tool_result"),
    "OpenAI Responses, print_output": (
        {
            "output": [
                *RESPONSES,
                {"type": "function_call", "call_id": "c2", "name": "print_output", "arguments": ARGUMENTS},
            ]
        },
        "structured_output",
    ),
    "OpenAI Responses, text": (
        {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ARGUMENTS}]}]},
        "direct",
    ),
    "Strands, result": (
        {"stop_reason": "end_turn", "message": {"role": "assistant", "content": [CONVERSE_OUTPUT]}, "state": {}},
        "structured_output",
    ),
    "CrewAI": ({"raw": ARGUMENTS, "pydantic": None, "json_dict": OUTPUT, "tasks_output": []}, "direct"),
    "CrewAI, fenced": ({"raw": f"Here it is:\n```json\n{ARGUMENTS}\n```\nBye", "json_dict": None}, "direct"),
    "Bedrock Agents": ({"completion": ARGUMENTS, "sessionId": "s"}, "direct"),
    "MCP": (
        {"content": [{"type": "text", "text": ARGUMENTS}], "structuredContent": OUTPUT, "isError": False},
        "structured_output",
    ),
    "MCP, text only": ({"content": [{"type": "text", "text": ARGUMENTS}], "isError": False}, "direct"),
}


def extracted(payload: Any) -> Extracted:
    answer = {"result": "Success", "data": payload, "metadata": {}}
    return Extractor(RULES.extraction_methods, RULES.transforms).extract(answer, payload)


@pytest.mark.parametrize("framework", ANSWERS)
def test_the_answer_of_a_framework_yields_its_fields(framework: str) -> None:
    payload, method = ANSWERS[framework]

    found = extracted(payload)

    assert found.fields == {"exchange": "CANTERBURY", "download_speed": "67.5 Mbps"}
    assert set(found.methods.values()) == {method}


@pytest.mark.parametrize("framework", [name for name in ANSWERS if not name.startswith(("CrewAI", "Bedrock Agents"))])
def test_the_answer_of_a_framework_inside_a_text_yields_its_fields(framework: str) -> None:
    payload, method = ANSWERS[framework]

    assert set(extracted({"output": json.dumps(payload)}).methods.values()) == {method}


def test_a_tool_message_with_an_error_is_skipped() -> None:
    assert extracted({"messages": langchain(is_error=True)}).missing == ["exchange", "download_speed"]


@pytest.mark.parametrize(("failed", "value"), [(False, {"exchange": "CANTERBURY"}), (True, {})])
def test_results_inside_of_a_tools_message_are_read_each_by_itself(failed: bool, value: dict[str, str]) -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "Exchange: CANTERBURY", "is_error": failed}
    use = {"type": "tool_use", "id": "c1", "name": "browser_broadband", "input": {}}
    messages = [{"role": "assistant", "content": [use]}, {"role": "tool", "content": [result]}]

    assert extracted({"messages": messages}).fields == value


def test_messages_that_are_nested_too_deep_are_not_read_and_nothing_raises() -> None:
    levels = 300
    text = '{"role":"assistant","content":[' * levels + "1" + "]}" * levels

    assert extracted({"messages": [parse_json(text)]}).missing == ["exchange", "download_speed"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("```\n[1]\n```", [1]),
        ('```json\n{"a": 1}```', {"a": 1}),
        ('  ```JSON\n  {"a": 1}\n  ```', {"a": 1}),
        ('Yes:\n\n```json\n{"a": 1}\n```\n\nAnything else?', {"a": 1}),
        ('```python\nprint({})\n```\nand\n```json\n{"a": 1}\n```', {"a": 1}),
        ('```json\n{"a": "```x```"}\n```', {"a": "```x```"}),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', {"a": 1}),
        ('Use ```json {"a": 1} ``` here', None),
        ('```json\n{"a": 1', None),
        ("```json\n7\n```", None),
        ("the object {} is empty", None),
    ],
)
def test_json_is_found_in_a_fenced_block_of_a_text(text: str, value: Any) -> None:
    assert find_json(text) == value


def test_a_text_that_only_contains_json_is_not_json() -> None:
    assert json_in('```json\n{"a": 1}\n```') == {"a": 1}
    assert json_in('Yes:\n```json\n{"a": 1}\n```\nAnything else?') is None


def test_parse_text_reads_labels_around_a_block_of_json() -> None:
    text = 'Exchange: CANTERBURY\n```json\n{"download_speed": "67.5 Mbps"}\n```'
    rules = ExtractionRules.model_validate(
        {
            "extraction_methods": [
                {
                    "method": "jmespath",
                    "paths": {"exchange": "text", "download_speed": "text", "transform": "parse_text"},
                }
            ]
        }
    )
    answer = {"text": text}

    found = Extractor(rules.extraction_methods, rules.transforms).extract(answer, answer)

    assert found.fields == {"exchange": "CANTERBURY", "download_speed": "67.5 Mbps"}
