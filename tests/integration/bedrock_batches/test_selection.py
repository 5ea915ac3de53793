"""Selections from a lake on DuckDB, beside the same in plain Python and in plain SQL."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_batches.lake.sql import identifier
from bedrock_batches.select.duckdb_ import Lake
from bedrock_batches.select.selection import Criteria, Holder, Selection, select_agencies
from bedrock_batches.submit.prompt import record_text
from bedrock_batches.violations import ViolationRecord
from foundation.errors import DeploymentError, InvalidInputError
from tests.support.lake import (
    VIOLATIONS,
    Record,
    example_records,
    expected_ids,
    memory_lake,
    rows_of,
    tier_of,
)

TODAY = date(2026, 10, 1)
EXAMPLES = example_records()
HOSTILE = ("' OR 1=1 --", "'; DROP TABLE lake.silver.osha; --", '"', "\\", "$tier", "osha'", "\N{SNOWMAN}", "null")


@pytest.fixture(scope="module")
def examples() -> Lake:
    return memory_lake(EXAMPLES)


def select(
    lake: Lake, criteria: Criteria, in_flight: list[Path] | None = None
) -> tuple[Selection, list[ViolationRecord]]:
    with lake.select(criteria, in_flight or []) as selection:
        return selection, [record for _, record in sorted(selection.records)]


def ids(lake: Lake, criteria: Criteria) -> list[str]:
    return [record.violation_id for record in select(lake, criteria)[1]]


def record(violation_id: str = "OSHA-1", **values: Any) -> Record:
    """A record of osha in tier low."""
    return {
        "violation_id": violation_id,
        "agency": "osha",
        "fine_amount": Decimal(10),
        "violation_type": "Other",
        "violation_details": "{}",
        "event_date": TODAY - timedelta(days=400),
        **values,
    }


def test_the_issues_example_gives_exactly_what_plain_sql_over_the_csv_gives(examples: Lake) -> None:
    # Given the made-up violations and some filters
    criteria = Criteria({"agencies": ["osha"], "minFineAmount": 50_000}, TODAY)
    # When they are selected
    selection, chosen = select(examples, criteria)
    # Then they are those of a plain query over the file
    plain = f"SELECT violation_id FROM read_csv('{VIOLATIONS}') WHERE agency = 'osha' AND fine_amount >= 50000"
    expected = {row[0] for row in duckdb.sql(plain).fetchall()}
    assert {row.violation_id for row in chosen} == expected
    assert selection.count == len(chosen) == len(expected) >= 150


def test_the_example_has_every_tier_and_agency() -> None:
    tiers = Counter((row["agency"], tier_of(row, TODAY)) for row in EXAMPLES)
    assert len(EXAMPLES) >= 2_000
    assert len(tiers) == 7 * 3


@pytest.mark.parametrize("priority", ["high", "medium", "low", "all"])
def test_a_priority_takes_exactly_its_tier_highest_first(examples: Lake, priority: str) -> None:
    criteria = Criteria({}, TODAY, priority=priority)
    selection, chosen = select(examples, criteria)
    assert [row.violation_id for row in chosen] == expected_ids(EXAMPLES, criteria)
    assert {row.tier for row in chosen} == ({"high", "medium", "low"} if priority == "all" else {priority})
    assert selection.counts.matching == len(chosen)


def test_each_record_comes_with_the_texts_of_its_row(examples: Lake) -> None:
    by_id = {row["violation_id"]: row for row in EXAMPLES}
    for row in select(examples, Criteria({"agencies": ["epa", "OSHA"]}, TODAY))[1]:
        expected = by_id[row.violation_id]
        assert row._asdict() == {**expected, "tier": tier_of(expected, TODAY)}


@pytest.mark.parametrize(
    ("values", "tier"),
    [
        ({}, "low"),
        ({"fine_amount": Decimal("100000.01")}, "high"),
        ({"fine_amount": Decimal(100_000)}, "medium"),
        ({"fine_amount": Decimal(50_000)}, "medium"),
        ({"fine_amount": Decimal("49999.99")}, "low"),
        ({"fine_amount": None, "violation_type": None, "event_date": None, "violation_details": None}, "low"),
        ({"violation_type": "SERIOUS"}, "medium"),
        ({"violation_type": "Serious injury"}, "low"),
        ({"event_date": TODAY - timedelta(days=29)}, "high"),
        ({"event_date": TODAY - timedelta(days=30)}, "medium"),
        ({"event_date": TODAY - timedelta(days=90)}, "medium"),
        ({"event_date": TODAY - timedelta(days=91)}, "low"),
        ({"event_date": TODAY + timedelta(days=5)}, "high"),
        ({"violation_details": '{"fatalities": 1}'}, "high"),
        ({"violation_details": '{"fatalities": true}'}, "high"),
        ({"violation_details": '{"fatalities": 0}'}, "low"),
        ({"violation_details": '{"fatalities": null}'}, "low"),
        ({"violation_details": '{"fatalities": "none"}'}, "low"),
        ({"violation_details": '{"fatalities": [1]}'}, "low"),
        ({"violation_details": '[{"fatalities": 1}]'}, "low"),
        ({"violation_details": '{"fatalities": 1'}, "low"),
    ],
)
def test_the_edges_of_the_tiers(values: Record, tier: str) -> None:
    ((chosen,)) = (select(memory_lake([record(**values)]), Criteria({}, TODAY))[1],)
    assert [row.tier for row in chosen] == [tier]


TYPES = st.sampled_from(["Serious", "SERIOUS", "Willful", "willful", "' OR 1=1 --", "Übertretung", None])
FINES = st.sampled_from([None, *map(Decimal, ("0", "10.50", "49999.99", "50000", "100000", "100000.01", "250000"))])
DATES = st.one_of(st.none(), st.integers(-3, 120).map(lambda days: TODAY - timedelta(days=days)))
DETAILS = st.sampled_from([None, "{}", '{"fatalities": 2}', '{"fatalities": 0}', '{"fatalities": true}', "{", "[]"])
RECORDS: st.SearchStrategy[list[Record]] = st.lists(
    st.builds(
        dict,
        violation_id=st.integers(1, 40).map(lambda number: f"V-{number}'"),
        agency=st.sampled_from(["osha", "epa"]),
        fine_amount=FINES,
        violation_type=TYPES,
        event_date=DATES,
        violation_details=DETAILS,
        state=st.sampled_from(["OH", "oh", "TX", "", None]),
        bedrock_title=st.sampled_from([None, None, None, "Done"]),
    ),
    max_size=25,
)
AMOUNTS = st.one_of(st.none(), st.sampled_from([-5, 0, 10.5, 50_000, 100_000, 1e300]))
DAYS = st.one_of(st.none(), st.sampled_from([-(10**20), -1, 0, 30, 90, 10**20]))
NAMES = st.one_of(st.none(), st.lists(st.sampled_from(["serious", "WILLFUL", "übertretung", *HOSTILE]), max_size=3))
FILTERS = st.fixed_dictionaries(
    {
        "minFineAmount": AMOUNTS,
        "maxFineAmount": AMOUNTS,
        "agencies": st.sampled_from([None, [], ["OSHA"], ["epa", "Osha"]]),
        "dateRange.start": DATES,
        "dateRange.end": DATES,
        "violationTypes": NAMES,
        "excludeTypes": NAMES,
        "states": st.sampled_from([None, None, None, [], ["oh"], ["TX", "Oh"]]),
        "hasFatalities": st.sampled_from([None, None, True, False]),
        "minDaysOld": DAYS,
        "maxDaysOld": DAYS,
    }
)
CRITERIA = st.builds(
    Criteria,
    FILTERS,
    st.just(TODAY),
    st.sampled_from(["all", "all", "high", "medium", "low"]),
    st.integers(1, 30),
    st.sampled_from([100, 50, 33.3, 0.1]),
)


@settings(max_examples=60)
@given(RECORDS, CRITERIA, st.sets(st.integers(1, 40).map(lambda number: f"V-{number}'"), max_size=5))
def test_any_selection_is_the_one_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], criteria: Criteria, busy: set[str]
) -> None:
    file = tmp_path_factory.mktemp("in-flight") / "records.txt"
    file.write_text("".join(f"{violation_id}\tosha\n" for violation_id in busy))
    selection, chosen = select(memory_lake(records, ["osha", "epa"]), criteria, [file])
    assert [row.violation_id for row in chosen] == expected_ids(records, criteria, busy)
    assert selection.count == len(chosen)
    assert bool(chosen) == (selection.emptied_by is None)


@settings(max_examples=30)
@given(RECORDS)
def test_the_tiers_are_a_partition(records: list[Record]) -> None:
    lake = memory_lake(records, ["osha", "epa"])
    by_tier = [ids(lake, Criteria({}, TODAY, priority=tier)) for tier in ("high", "medium", "low")]
    assert list(chain.from_iterable(by_tier)) == ids(lake, Criteria({}, TODAY))


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_a_value_and_the_lake_is_unharmed(examples: Lake, value: str) -> None:
    before = rows_of(examples)
    for filters in ({"violationTypes": [value]}, {"violationTypes": ["Serious", value]}):
        criteria = Criteria(filters, TODAY)
        assert ids(examples, criteria) == expected_ids(EXAMPLES, criteria)
    assert len(ids(examples, Criteria({"excludeTypes": [value]}, TODAY))) == len(EXAMPLES)
    with pytest.raises(InvalidInputError, match="no such agency"):
        select(examples, Criteria({"agencies": [value]}, TODAY))
    assert rows_of(examples) == before


def test_an_end_before_its_start_matches_nothing_and_says_so(examples: Lake) -> None:
    dates = {"dateRange.start": date(2026, 5, 1), "dateRange.end": date(2026, 4, 1)}
    selection, chosen = select(examples, Criteria(dates, TODAY))
    assert chosen == []
    assert selection.emptied_by == "dateRange.end"


def test_an_empty_selection_tells_what_each_filter_left(examples: Lake) -> None:
    filters = {"agencies": ["faa"], "minFineAmount": 50_000, "maxFineAmount": 1, "hasFatalities": True}
    selection, _ = select(examples, Criteria(filters, TODAY, priority="low"))
    left = {step.name: step.remaining for step in selection.filters}
    faa = [row for row in EXAMPLES if row["agency"] == "faa"]
    rich = [row for row in faa if row["fine_amount"] is not None and row["fine_amount"] >= 50_000]
    assert (left["agencies"], left["minFineAmount"], left["maxFineAmount"]) == (len(faa), len(rich), 0)
    assert selection.emptied_by == "maxFineAmount"


def test_a_selection_counts_what_each_filter_leaves_where_it_is_asked_to() -> None:
    lake = memory_lake([record("OSHA-1", fine_amount=Decimal(20)), record("OSHA-2"), record("OSHA-3")])
    criteria = Criteria({"minFineAmount": 15}, TODAY)
    with lake.select(criteria) as uncounted, lake.select(criteria, count_filters=True) as counted:
        assert (uncounted.filters, uncounted.count) == ((), 1)
        assert ([one.violation_id for _, one in counted.records], counted.emptied_by) == (["OSHA-1"], None)
    assert [(step.name, step.remaining) for step in counted.filters] == [
        ("agencies", 3),
        ("withoutGeneratedContent", 3),
        ("minFineAmount", 1),
        ("notInFlight", 1),
        ("usableViolationId", 1),
        ("limits", 1),
    ]


def test_records_in_flight_are_left_out_and_named_when_nothing_else_remains(tmp_path: Path) -> None:
    files = [tmp_path / "records-0001.txt", tmp_path / "records-0002.txt"]
    files[0].write_text("OSHA-1\tosha\n")
    files[1].write_text('OSHA-"2"\tosha\nOSHA-9\tosha\n')
    lake = memory_lake([record("OSHA-1"), record('OSHA-"2"')])
    selection, chosen = select(lake, Criteria({}, TODAY), files)
    assert (chosen, selection.counts.in_flight, selection.emptied_by) == ([], 2, "notInFlight")


def test_an_empty_selection_names_the_jobs_and_objects_that_hold_its_records(tmp_path: Path) -> None:
    job, waiting = tmp_path / "batch-1790000000-0123abcd.txt", tmp_path / "not-synced.txt"
    job.write_text("OSHA-1\tosha\nOSHA-2\tosha\nOSHA-9\tosha\n")
    key = "bedrock-batches/sync-failed/2026-10-01/1-9.jsonl"
    waiting.write_text(f"OSHA-3\t{key}\n")
    lake = memory_lake([record(f"OSHA-{number}") for number in (1, 2, 3)])
    selection, _ = select(lake, Criteria({}, TODAY), [job, waiting])
    assert selection.emptied_by == "notInFlight"
    assert selection.held_by == (Holder("batch-1790000000-0123abcd", 2, "OSHA-1"), Holder(key, 1, "OSHA-3"))


@pytest.mark.parametrize("violation_id", [None, "", "a\tb", "a\nb", "x" * 201])
def test_a_record_whose_id_cannot_be_a_key_is_left_out_and_counted(violation_id: str | None) -> None:
    lake = memory_lake([record("OSHA-1"), {**record(), "violation_id": violation_id}])
    selection, chosen = select(lake, Criteria({}, TODAY))
    assert [row.violation_id for row in chosen] == ["OSHA-1"]
    assert selection.counts.unusable_ids == 1


def test_an_id_that_another_agency_has_too_is_left_out_even_when_that_agency_is_not_asked_for() -> None:
    elsewhere = {**record("OSHA-1", bedrock_title="Done"), "agency": "epa"}
    lake = memory_lake([record("OSHA-1"), elsewhere, record("OSHA-2"), record("OSHA-3"), record("OSHA-3")])
    selection, chosen = select(lake, Criteria({"agencies": ["osha"]}, TODAY))
    assert [row.violation_id for row in chosen] == ["OSHA-2"]
    assert selection.counts.unusable_ids == 3


def test_a_percentage_is_rounded_up_and_both_limits_hold() -> None:
    lake = memory_lake([record(f"OSHA-{number}") for number in range(10)])
    counts = [
        len(ids(lake, Criteria({}, TODAY, max_violations=most, max_percent=percent)))
        for most, percent in ((100, 100), (3, 100), (100, 25), (100, 0.1), (2, 25), (100, 70))
    ]
    assert counts == [10, 3, 3, 1, 2, 7]


def test_a_missing_table_says_how_to_make_it() -> None:
    lake = memory_lake([], ["osha"])
    lake.location = type(lake.location)(**{**vars(lake.location), "agencies": ("osha", "epa")})
    with pytest.raises(
        DeploymentError, match=r"There is no table epa yet in the lake .*: run `make seed-lake`"
    ) as caught:
        select(lake, Criteria({}, TODAY))
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Osha", "1osha", "os-ha", "osha; DROP", 'osha"', "o" * 64])
def test_a_configured_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(DeploymentError, match="cannot name"):
        identifier(name)


def test_every_unknown_agency_is_named_with_its_place() -> None:
    with pytest.raises(InvalidInputError) as refused:
        select_agencies({"agencies": ["osha", "x", "EPA", "y"]}, ["osha", "epa"])
    assert [problem.path for problem in refused.value.problems] == [
        "config.filters.agencies[1]",
        "config.filters.agencies[3]",
    ]


def test_of_a_text_of_megabytes_no_more_is_read_than_the_prompt_may_take() -> None:
    long = {**example_records()[0], "raw_description": "Nobody wore a harness. " * 50_000}
    _, (record,) = select(memory_lake([long]), Criteria({}, date(2026, 10, 1)))
    assert len(record.raw_description or "") == 24_000
    assert record_text(record) == record_text(record._replace(raw_description=long["raw_description"]))
