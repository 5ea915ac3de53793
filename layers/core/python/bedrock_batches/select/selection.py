"""Which violations a batch takes, as DuckDB statements over the agencies' tables, and what they answer with.

The statements are put together from a closed vocabulary: table names come from configuration and fit a strict pattern,
every value is a bound parameter. A record is *matching* when it has no generated content, passes every filter and lies
in the tier that is asked for. Of these are left out: records of jobs in flight, and records whose ``violation_id``
cannot be a key (it occurs more than once in the lake, is empty or over 200 characters, or holds a control character):
the id alone is the key in DynamoDB, so two violations that share one would overwrite each other's content.

Tiers, each record in exactly one: *high* has a fatality, or a fine over 100,000, or is younger than 30 days; of the
rest, *medium* has a fine of 50,000 and more, or type Serious, or is at most 90 days old; *low* is what remains. A
fatality is a number over 0, or true, under ``fatalities`` in the JSON of ``violation_details``; text that is not JSON
counts as none. An unknown fine, type or date puts a record into no tier by itself.
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

from foundation.errors import DeploymentError, InvalidInputError, Problem

TIERS = ("high", "medium", "low")
"""In the order in which they are taken; a tier's number in SQL is its place here, from 1."""
ALL_TIERS = "all"
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a namespace or a table may be called: within what S3 Tables allows, and safe in SQL."""
MOST_ID_CHARACTERS = 200
MOST_NAMED = 20
"""Ids that cannot be used and that a selection names, in the order of their texts."""
READ_CHARACTERS = {
    "company_name": 2_000,
    "violation_type": 2_000,
    "raw_title": 2_000,
    "raw_description": 24_000,
    "violation_details": 16_000,
    "city": 2_000,
    "state": 2_000,
}
"""So much of a text is read: four times what the prompt takes of it, which leaves out blanks. One text of megabytes
would not fit into memory with a thousand others."""

# (column, DuckDB type) of an agency's table, in its order.
COLUMNS = (
    ("violation_id", "VARCHAR"),
    ("agency", "VARCHAR"),
    ("company_name", "VARCHAR"),
    ("fine_amount", "DECIMAL(18, 2)"),
    ("violation_type", "VARCHAR"),
    ("raw_title", "VARCHAR"),
    ("raw_description", "VARCHAR"),
    ("violation_details", "VARCHAR"),
    ("city", "VARCHAR"),
    ("state", "VARCHAR"),
    ("event_date", "DATE"),
    ("bedrock_title", "VARCHAR"),
    ("bedrock_description", "VARCHAR"),
    ("bedrock_tags", "VARCHAR[]"),
    ("bedrock_generated_at", "TIMESTAMP WITH TIME ZONE"),
    ("is_verified", "BOOLEAN"),
    ("verified_at", "TIMESTAMP WITH TIME ZONE"),
)
GENERATED_COLUMNS = frozenset(
    {
        "bedrock_title",
        "bedrock_description",
        "bedrock_tags",
        "bedrock_generated_at",
        "is_verified",
        "verified_at",
    }
)


class DateRange(Protocol):
    """Both ends belong to it; an end that is None is open."""

    @property
    def start(self) -> date | None: ...
    @property
    def end(self) -> date | None: ...


class Filters(Protocol):
    """What ``bedrock_batches.request.job_config`` reads; None, and an empty list, means that the filter is absent."""

    @property
    def min_fine_amount(self) -> float | Decimal | None: ...
    @property
    def max_fine_amount(self) -> float | Decimal | None: ...
    @property
    def agencies(self) -> Sequence[str] | None: ...
    @property
    def date_range(self) -> DateRange | None: ...
    @property
    def violation_types(self) -> Sequence[str] | None: ...
    @property
    def exclude_types(self) -> Sequence[str] | None: ...
    @property
    def has_fatalities(self) -> bool | None: ...
    @property
    def min_days_old(self) -> int | None: ...
    @property
    def max_days_old(self) -> int | None: ...


@dataclass(frozen=True)
class Criteria:
    """What to select. ``priority`` is a tier or "all"; ages are counted up to ``today``.

    At most ``max_violations`` records, and at most ``max_percent`` of those that may be taken, rounded up.
    """

    filters: Filters
    today: date
    priority: str = ALL_TIERS
    max_violations: int = 10_000
    max_percent: float = 100


class ViolationRecord(NamedTuple):
    """One selected violation, its texts cut as in READ_CHARACTERS. ``agency`` is the name of its table, ``tier`` one of
    TIERS."""

    violation_id: str
    agency: str
    tier: str
    company_name: str | None
    fine_amount: Decimal | None
    violation_type: str | None
    raw_title: str | None
    raw_description: str | None
    violation_details: str | None
    city: str | None
    state: str | None
    event_date: date | None


@dataclass(frozen=True)
class FilterCount:
    """How many records remain after this filter and those before it; its name is that of the request."""

    name: str
    remaining: int


@dataclass(frozen=True)
class Counts:
    """Of one selection. What may be taken is ``matching - in_flight - unusable_ids``."""

    matching: int
    in_flight: int
    unusable_ids: int

    @property
    def available(self) -> int:
        return self.matching - self.in_flight - self.unusable_ids


@dataclass(frozen=True)
class Selection:
    """The answer: ``count`` records in any order, each with its place by priority, read once while the lake is open.

    ``filters`` tells, for an empty selection only, what each filter left; ``emptied_by`` names the one that left none.
    ``unusable_ids`` are the first MOST_NAMED ids of ``counts.unusable_ids``.
    """

    counts: Counts
    count: int
    records: Iterator[tuple[int, ViolationRecord]]
    filters: tuple[FilterCount, ...] = ()
    unusable_ids: tuple[str, ...] = ()

    @property
    def emptied_by(self) -> str | None:
        return next((step.name for step in self.filters if step.remaining == 0), None)


@dataclass(frozen=True)
class Statement:
    """SQL with named parameters (``$name``) and their values."""

    sql: str
    parameters: dict[str, Any]


def is_usable_id(violation_id: str) -> bool:
    """Whether an id can be a key, apart from being the only one of its kind. The same rule as in SQL."""
    return 1 <= len(violation_id) <= MOST_ID_CHARACTERS and not _CONTROL.search(violation_id)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def identifier(name: str) -> str:
    """``name`` when it may stand in SQL as it is. Raises DeploymentError: it comes from configuration."""
    if IDENTIFIER.fullmatch(name) is None:
        raise DeploymentError(
            f"{name!r} cannot name an agency's table or a namespace: correct the configuration of the lake "
            f"(it must match {IDENTIFIER.pattern})."
        )
    return name


def select_agencies(wanted: Sequence[str] | None, configured: Sequence[str]) -> list[str]:
    """The configured agencies that are asked for, in the order of the configuration; all of them when none is named.

    Raises InvalidInputError for each that is not configured.
    """
    if not wanted:
        return list(configured)
    known = {agency.casefold() for agency in configured}
    problems = [
        Problem(
            path=f"config.filters.agencies[{index}]",
            value=repr(agency)[:100],
            message="the lake has no such agency",
            fix=f"name agencies of {', '.join(configured)}",
        )
        for index, agency in enumerate(wanted)
        if agency.casefold() not in known
    ]
    if problems:
        raise InvalidInputError(problems)
    asked = {agency.casefold() for agency in wanted}
    return [agency for agency in configured if agency.casefold() in asked]


def most_records(criteria: Criteria, available: int) -> int:
    """How many of the ``available`` records the limits let through; a percentage is rounded up."""
    share = math.ceil(Fraction(str(criteria.max_percent)) * available / 100)
    return max(0, min(criteria.max_violations, share, available))


_FATAL = (
    "coalesce(CASE WHEN json_valid(violation_details) THEN "
    "coalesce(try_cast(json_extract_string(violation_details, '$.fatalities') AS DOUBLE) > 0, "
    "json_extract_string(violation_details, '$.fatalities') = 'true') END, false)"
)
_DAYS_OLD = "date_diff('day', event_date, $today::DATE)"
_TIER = (
    f"CASE WHEN {_FATAL} OR fine_amount > 100000 OR {_DAYS_OLD} < 30 THEN 1 "
    f"WHEN fine_amount >= 50000 OR lower(violation_type) = 'serious' OR {_DAYS_OLD} <= 90 THEN 2 ELSE 3 END"
)
_WITHOUT_CONTENT = "bedrock_title IS NULL"
_TYPE_IN = "list_contains(list_transform(${0}::VARCHAR[], lambda name: lower(name)), lower(violation_type))"
_USABLE_ID = (
    f"coalesce(length(violation_id) BETWEEN 1 AND {MOST_ID_CHARACTERS} "
    "AND NOT regexp_matches(violation_id, '[\\x00-\\x1f\\x7f]'), false)"
)
_PRIORITY = "tier, fine_amount DESC NULLS LAST, event_date DESC NULLS LAST, violation_id"
"""Who is cut by a limit last: a total order, since ids that occur twice are left out."""


def _clauses(criteria: Criteria) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name in the request, condition, parameters) of each filter that is present, and of the tier."""
    filters = criteria.filters
    dates = filters.date_range
    number = {
        "minFineAmount": ("fine_amount >= $min_fine_amount", "min_fine_amount", filters.min_fine_amount),
        "maxFineAmount": ("fine_amount <= $max_fine_amount", "max_fine_amount", filters.max_fine_amount),
    }
    for name, (condition, parameter, amount) in number.items():
        if amount is not None:
            yield name, condition, {parameter: float(amount)}
    if dates is not None and dates.start is not None:
        yield "dateRange.start", "event_date >= $date_start::DATE", {"date_start": dates.start}
    if dates is not None and dates.end is not None:
        yield "dateRange.end", "event_date <= $date_end::DATE", {"date_end": dates.end}
    if filters.violation_types:
        types = list(filters.violation_types)
        yield "violationTypes", f"coalesce({_TYPE_IN.format('types')}, false)", {"types": types}
    if filters.exclude_types:
        types = list(filters.exclude_types)
        yield "excludeTypes", f"NOT coalesce({_TYPE_IN.format('excluded')}, false)", {"excluded": types}
    if filters.has_fatalities is not None:
        yield "hasFatalities", f"{_FATAL} = $has_fatalities", {"has_fatalities": filters.has_fatalities}
    if filters.min_days_old is not None:
        yield "minDaysOld", f"{_DAYS_OLD} >= $min_days_old", {"min_days_old": filters.min_days_old}
    if filters.max_days_old is not None:
        yield "maxDaysOld", f"{_DAYS_OLD} <= $max_days_old", {"max_days_old": filters.max_days_old}
    if criteria.priority != ALL_TIERS:
        yield "priority", f"({_TIER}) = $tier", {"tier": TIERS.index(criteria.priority) + 1}


def _union(schema: str, agencies: Sequence[str], columns: str) -> str:
    """One relation of the agencies' tables. ``schema`` is catalog and namespace, ``agencies`` are checked here."""
    selects = (
        f"SELECT '{identifier(agency)}' AS source, {columns} FROM {schema}.{identifier(agency)}" for agency in agencies
    )
    return "(" + " UNION ALL ".join(selects) + ")"


def in_flight_statement(files: Sequence[str]) -> Statement:
    """Fill the temporary table ``in_flight`` from the records files of jobs: lines of id, tab, agency."""
    if not files:
        return Statement("CREATE OR REPLACE TEMP TABLE in_flight (violation_id VARCHAR)", {})
    return Statement(
        "CREATE OR REPLACE TEMP TABLE in_flight AS SELECT DISTINCT violation_id FROM read_csv($files, "
        "auto_detect=false, header=false, delim='\t', quote='', escape='', new_line='\\n', "
        "columns={'violation_id': 'VARCHAR', 'agency': 'VARCHAR'})",
        {"files": list(files)},
    )


def matching_statement(
    schema: str, agencies: Sequence[str], configured: Sequence[str], criteria: Criteria
) -> Statement:
    """Fill the temporary table ``matching``: key, order and whether it is left out, of each matching record.

    Only narrow columns are read. Ids are compared over all ``configured`` agencies and all their records.
    """
    parameters: dict[str, Any] = {"today": criteria.today}
    conditions = [_WITHOUT_CONTENT]
    for _, condition, values in _clauses(criteria):
        conditions.append(condition)
        parameters |= values
    columns = "violation_id, fine_amount, violation_type, violation_details, event_date, bedrock_title"
    sql = (
        "CREATE OR REPLACE TEMP TABLE matching AS WITH "
        f"candidate AS (SELECT source, violation_id, fine_amount, event_date, {_TIER} AS tier "
        f"FROM {_union(schema, agencies, columns)} WHERE {' AND '.join(conditions)}), "
        f"repeated AS (SELECT violation_id FROM {_union(schema, configured, 'violation_id')} "
        "GROUP BY violation_id HAVING count(*) > 1) "
        "SELECT candidate.*, "
        f"NOT {_USABLE_ID} OR violation_id IN (SELECT violation_id FROM repeated WHERE violation_id IS NOT NULL) "
        "AS unusable_id, coalesce(violation_id IN (FROM in_flight), false) AS in_flight FROM candidate"
    )
    return Statement(sql, parameters)


def counts_statement() -> Statement:
    """Matching records; of these in flight; of the others with an id that cannot be used."""
    return Statement(
        "SELECT count(*), count(*) FILTER (in_flight), count(*) FILTER (unusable_id AND NOT in_flight) FROM matching",
        {},
    )


def unusable_statement() -> Statement:
    """The first ids that cannot be used; a missing one is empty, a long one is cut."""
    sql = (
        f"SELECT DISTINCT left(coalesce(violation_id, ''), {MOST_ID_CHARACTERS}) AS id FROM matching "
        f"WHERE unusable_id AND NOT in_flight ORDER BY id LIMIT {MOST_NAMED}"
    )
    return Statement(sql, {})


def chosen_statement(limit: int) -> Statement:
    """Fill the temporary table ``chosen``: the first ``limit`` records of ``matching``, with their places from 0."""
    sql = (
        f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT row_number() OVER (ORDER BY {_PRIORITY}) - 1 AS place, "
        "source, violation_id, tier FROM matching WHERE NOT in_flight AND NOT unusable_id "
        f"QUALIFY place < $most"
    )
    return Statement(sql, {"most": limit})


def records_statement(schema: str, agencies: Sequence[str]) -> Statement:
    """Place and columns of ViolationRecord (the tier by its number) of each record of ``chosen``.

    In no order: DuckDB sorts texts in memory, and gives up where they do not fit.
    """
    others = [name for name in ViolationRecord._fields if name not in ("violation_id", "agency", "tier")]
    read = [f"left({name}, {READ_CHARACTERS[name]}) AS {name}" if name in READ_CHARACTERS else name for name in others]
    sql = (
        f"SELECT place, violation_id, source, tier, {', '.join(others)} "
        f"FROM {_union(schema, agencies, ', '.join(['violation_id', *read]))} JOIN chosen USING (source, violation_id)"
    )
    return Statement(sql, {})


def diagnosis_statement(schema: str, agencies: Sequence[str], criteria: Criteria) -> tuple[list[str], Statement]:
    """Names of the filters, and the statement whose one row counts what each leaves, in the same order."""
    names, conditions = ["agencies", "withoutGeneratedContent"], ["true", _WITHOUT_CONTENT]
    parameters: dict[str, Any] = {}
    for name, condition, values in _clauses(criteria):
        names.append(name)
        conditions.append(condition)
        parameters |= values
    counts = (f"count(*) FILTER ({' AND '.join(conditions[: n + 1])})" for n in range(len(conditions)))
    sql = f"SELECT {', '.join(counts)} FROM {_union(schema, agencies, '*')}"
    if "$today" in sql:
        parameters["today"] = criteria.today
    return names, Statement(sql, parameters)
