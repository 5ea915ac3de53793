"""Columns of answers in common wrappings: what is inside is read last, and nothing that was read before changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.models import OutputMapping

LAMBDA_TASK = {"ExecutedVersion": "$LATEST", "SdkHttpMetadata": {}, "StatusCode": 200}


def cells(answer: Any, *sources: str) -> list[str]:
    columns = [{"name": f"c{number}", "source": source} for number, source in enumerate(sources)]
    return compile_output_mapping(OutputMapping.model_validate({"columns": columns})).map(answer, answer).values


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 200, "headers": {}, "body": '{"label": "good"}'},
        {"statusCode": 200, "body": {"label": "good"}},
        '{"label": "good"}',
        '```json\n{"label": "good"}\n```',
        {**LAMBDA_TASK, "Payload": {"label": "good"}},
        {**LAMBDA_TASK, "Payload": {"statusCode": 200, "body": '{"label": "good"}'}},
        {"Body": {"label": "good"}, "ContentType": "application/json"},
    ],
)
def test_a_column_finds_its_field_inside_of_a_wrapping(answer: Any) -> None:
    assert cells(answer, "$.label") == ["good"]


def test_paths_on_the_whole_answer_read_what_they_always_read() -> None:
    body = '{"a": 1, "score": 2}'
    answer = {"statusCode": 200, "headers": {"x-id": "7"}, "body": body, "a": 5}

    assert cells(answer, "$.agent_output.body", "$.agent_output.headers['x-id']", "$.a", "$.body", "$.score") == [
        body,
        "7",
        "5",
        body,
        "2",
    ]


def test_without_columns_the_result_is_the_whole_answer() -> None:
    for answer in ({"statusCode": 200, "body": '{"a": 1}', "score": 9}, '{"id": 1.0, "id": 2}'):
        [result] = compile_output_mapping(OutputMapping()).map(answer, answer).values
        assert json.loads(result) == answer


def test_a_match_inside_that_cannot_be_cast_is_a_cast_failure() -> None:
    columns = [{"name": "n", "source": "$.n", "type": "number", "default": 0}]
    mapped = compile_output_mapping(OutputMapping.model_validate({"columns": columns})).map('{"n": "x"}', '{"n": "x"}')

    assert (mapped.values, mapped.cast_failures, mapped.missing) == (["0"], {"n": '"x"'}, ())


def test_a_column_that_is_nowhere_names_the_keys_inside() -> None:
    columns = [{"name": "label", "source": "$.lable"}]
    answer = {"statusCode": 200, "body": '{"label": "good"}'}
    mapped = compile_output_mapping(OutputMapping.model_validate({"columns": columns})).map(answer, answer)

    assert (mapped.missing, mapped.answer_keys) == (["label"], {"$": ["label"]})


def test_an_answer_deep_in_wrappings_is_no_crash() -> None:
    answer: Any = {"label": "good"}
    for _ in range(50):
        answer = {"statusCode": 200, "body": answer}

    assert cells(answer, "$.label") == [""]
