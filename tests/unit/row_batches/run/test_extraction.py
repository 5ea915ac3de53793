"""Rows whose columns are extracted from their answers: cells, metadata column, summary, and the same after a remap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.models import OutputMapping
from row_batches.run.totals import ExtractedFields
from tests.support.batches import KEYS, json_of
from tests.unit.row_batches.run.test_remap import Execution

ANSWERS = Path(__file__).parents[3] / "data" / "answers" / "broadband-agent-rust"
SHAPES = ("print_output_in_messages", "text_in_messages", "last_text_only", "nothing_found")
METHODS: list[dict[str, Any]] = [
    {
        "method": "structured_output",
        "field_mappings": {"exchange": "$.exchange", "download_speed": "$.speeds.download"},
    },
    {
        "method": "tool_result",
        "tool_name": "browser_broadband",
        "field_mappings": {
            "exchange": "$.content | parse('Exchange: (.+)')",
            "download_speed": "$.content | parse('Download Speed: (.+)')",
        },
    },
    {"method": "jmespath", "paths": {"exchange": "messages[-1].content[0].text", "transform": "parse_text"}},
]


def answer(shape: str) -> Any:
    return json.loads((ANSWERS / f"{shape}.json").read_text(encoding="utf-8"))


def mapped(given: Any, **mapping: Any) -> list[str]:
    mapper = compile_output_mapping(OutputMapping.model_validate({"extraction_methods": METHODS, **mapping}))
    return mapper.map(given, given).values


def test_without_columns_each_extracted_field_is_one() -> None:
    assert mapped(answer("text_in_messages")) == ["CANTERBURY", "67.5 Mbps"]


def test_a_source_is_tried_on_the_extracted_fields_before_the_answer() -> None:
    columns = [
        {"name": "place", "source": "$.exchange"},
        {"name": "exchange"},
        {"name": "speed", "source": "$.download_speed", "type": "number", "default": -1},
        {"name": "own", "source": "$.own"},
    ]
    given = {"exchange": "of the answer", "structured_output": {"exchange": "extracted"}, "own": 1}

    assert mapped(given, columns=columns) == ["extracted", "extracted", "-1", "1"]


def test_a_source_that_no_method_yields_is_still_looked_for_in_the_answer_but_a_field_alone_is_not() -> None:
    columns = [{"name": "place", "source": "$.exchange"}, {"name": "exchange", "default": "none"}]

    assert mapped({"exchange": "of the answer"}, columns=columns) == ["of the answer", "none"]


def test_the_root_is_the_whole_answer() -> None:
    columns = [{"name": "all", "source": "$", "type": "json_string"}]

    assert mapped({"structured_output": {"exchange": "X"}}, columns=columns) == [
        '{"structured_output":{"exchange":"X"}}'
    ]


def run_of(*shapes: str, **mapping: Any) -> Execution:
    rows = [(str(number), shape) for number, shape in enumerate(shapes, 1)]
    execution = Execution(rows, output_mapping=mapping)
    execution.finish(1, [answer(shape) for shape in shapes])
    execution.end()
    return execution


def test_the_row_says_which_method_found_each_field_and_which_fields_are_missing() -> None:
    metadata = ["_status", "_extraction"]
    execution = run_of(*SHAPES, extraction_methods=METHODS, add_metadata=metadata, include_original=False)

    lines = execution.store.get(KEYS.output).decode().splitlines()

    assert lines[0] == "exchange,download_speed,_status,_extraction"
    assert lines[2] == (
        'CANTERBURY,67.5 Mbps,SUCCESS,"{""methods"":{""exchange"":""tool_result"",""download_speed"":""tool_result""},'
        '""missing"":[]}"'
    )
    assert lines[4] == ',,SUCCESS,"{""methods"":{},""missing"":[""exchange"",""download_speed""]}"'


def test_the_summary_counts_methods_and_missing_fields() -> None:
    execution = run_of(*SHAPES, *SHAPES[:2], extraction_methods=METHODS)

    summary = json_of(execution.store.get(KEYS.summary))

    assert summary["extraction"] == {
        "methods": {
            "exchange": {"structured_output": 2, "tool_result": 2, "jmespath": 1},
            "download_speed": {"structured_output": 2, "tool_result": 2},
        },
        "missing": {"exchange": 1, "download_speed": 2},
    }


def test_without_extraction_the_summary_counts_none() -> None:
    execution = run_of(*SHAPES, columns=[{"name": "a", "source": "$.a"}])

    assert json_of(execution.store.get(KEYS.summary))["extraction"] == {"methods": {}, "missing": {}}


def test_a_remap_extracts_from_the_answers_that_are_kept() -> None:
    execution = run_of(*SHAPES, columns=[{"name": "a", "source": "$.a"}])

    remapped = execution.remap({"extraction_methods": METHODS})

    assert [row["exchange"] for row in execution.table(remapped.key)] == ["CANTERBURY", "CANTERBURY", "CANTERBURY", ""]
    assert remapped.extraction.missing == {"exchange": 1, "download_speed": 2}


def test_a_remap_without_methods_has_those_of_the_schema_that_the_plan_keeps() -> None:
    execution = run_of(*SHAPES, columns=[{"name": "a", "source": "$.a"}])
    fields = [{"name": "place", "extraction": [{"type": "structured", "path": "$.exchange"}]}]
    schema = {"agent": "echo", "version": "1", "output_format": "structured", "fields": fields}
    target = execution.plan.target.model_copy(update={"output_schema_document": json.dumps(schema)})
    plan = execution.plan.model_copy(update={"target": target})
    execution.store.put(KEYS.plan, plan.model_dump_json().encode())

    remapped = execution.remap({"add_metadata": False})

    assert [row["place"] for row in execution.table(remapped.key)] == ["CANTERBURY", "", "", ""]


@pytest.mark.parametrize("name", ["_status", "a\tb"])
def test_a_field_that_cannot_be_a_column_is_refused(name: str) -> None:
    methods = [{"method": "direct", "field_mappings": {name: "$.a"}}]

    with pytest.raises(ValueError, match=r"metadata column|control character"):
        OutputMapping.model_validate({"extraction_methods": methods})


def test_a_column_without_a_source_needs_an_extracted_field_of_its_name() -> None:
    with pytest.raises(ValueError, match="is required"):
        OutputMapping.model_validate({"extraction_methods": METHODS, "columns": [{"name": "other"}]})


def test_counts_of_rows_add_up() -> None:
    counts = ExtractedFields()
    counts.add(["", '{"methods":{"a":"direct"},"missing":["b"]}', '{"methods":{"a":"direct"},"missing":["b"]}'])
    counts.add(['{"methods":{"a":"jmespath"},"missing":[]}'])

    assert counts == ExtractedFields(methods={"a": {"direct": 2, "jmespath": 1}}, missing={"b": 2})
