"""The registry of filters: everything a filter means stands in its entry, and nothing outside names one."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import duckdb
import pytest

from bedrock_batches.dataset import Filter
from bedrock_batches.request.filters import Filters
from bedrock_batches.select.selection import ROW_FILTERS, Criteria, diagnosis_statement, matching_statement
from bedrock_batches.violations import COLUMNS, FILTERS, KEY, ORDER, TIERS, ViolationRecord
from tests.support.lake import example_records, expected_ids, memory_lake

TODAY = date(2026, 10, 1)
EXAMPLES = example_records()
TYPES = {column.name: column.type for column in COLUMNS}


def document_of(one: Any) -> dict[str, Any]:
    """The filters of a request that gives this filter's example alone."""
    value = one.example
    for name in reversed(one.name.split(".")):
        value = {name: value}
    return dict(value)


def names_of(model: Any, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = [kind for kind in getattr(field.annotation, "__args__", ()) if hasattr(kind, "model_fields")]
        found |= names_of(inner[0], f"{prefix}{name}.") if inner else {prefix + name}
    return found


def test_every_field_of_the_request_is_a_filter_with_its_condition() -> None:
    without = names_of(Filters) ^ {one.name for one in FILTERS}
    assert not without, (
        f"{sorted(without)} stand in the request's Filters or in violations.FILTERS alone: a filter that has no entry "
        "in FILTERS has no condition, so the selection would ignore it"
    )


def test_a_filter_whose_condition_ignores_its_value_is_refused() -> None:
    with pytest.raises(ValueError, match="would ignore the request"):
        Filter("cities", list[str], frozenset({"city"}), "city IS NOT NULL", "Cities", ["Toledo"])


def test_names_and_parameters_are_unique() -> None:
    assert Counter(one.name for one in FILTERS).most_common(1)[0][1] == 1
    assert Counter(one.parameter for one in ROW_FILTERS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.name)
def test_a_filter_takes_from_the_examples_what_plain_python_takes(one: Any) -> None:
    given = Filters.model_validate(document_of(one)).given()
    assert [*given] == [one.name]
    criteria = Criteria(given, TODAY)
    with memory_lake(EXAMPLES).select(criteria) as selection:
        chosen = [record.violation_id for _, record in sorted(selection.records)]
    assert chosen == expected_ids(EXAMPLES, criteria)
    assert 0 < len(chosen) < len(EXAMPLES), "the example neither takes all records nor none"


@pytest.mark.parametrize("part", [*ROW_FILTERS, *TIERS], ids=lambda one: one.name)
def test_a_condition_reads_no_column_but_those_that_it_names(part: Any) -> None:
    unknown = part.columns - set(TYPES)
    assert not unknown, f"{part.name} names columns that the table lacks: {sorted(unknown)}"
    condition = part.condition.replace("$value", "NULL").replace("$today", "'2026-10-01'")
    columns = ", ".join(f"NULL::{TYPES[name]} AS {name}" for name in sorted(part.columns)) or "1 AS nothing"
    duckdb.sql(f"SELECT {condition} FROM (SELECT {columns})").fetchall()


def test_a_column_is_read_only_for_the_filters_that_are_given() -> None:
    plain = matching_statement("lake.silver", ["osha"], ["osha"], Criteria({}, TODAY)).sql
    narrowed = matching_statement("lake.silver", ["osha"], ["osha"], Criteria({"states": ["TX"]}, TODAY)).sql
    assert ("state" in plain.split(), "state," in narrowed.split()) == (False, True)
    assert (
        "SELECT 'osha' AS source, bedrock_title FROM"
        in diagnosis_statement("l.s", ["osha"], Criteria({}, TODAY))[1].sql
    )


def test_the_record_of_a_prompt_and_the_order_are_of_columns() -> None:
    assert ViolationRecord._fields[:3] == (KEY, "agency", "tier")
    assert set(ViolationRecord._fields[3:]) <= set(TYPES)
    assert {term.split()[0] for term in ORDER} <= set(TYPES)


def test_states_match_in_any_case_and_a_record_without_one_does_not() -> None:
    records = [
        {"violation_id": f"OSHA-{state}", "agency": "osha", "state": state} for state in ("TX", "tx", "OH", None)
    ]
    with memory_lake([{"fine_amount": None, "event_date": None, **record} for record in records]).select(
        Criteria({"states": ["Tx"]}, TODAY)
    ) as selection:
        assert sorted(record.violation_id for _, record in selection.records) == ["OSHA-TX", "OSHA-tx"]
