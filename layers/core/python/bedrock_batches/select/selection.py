"""The DuckDB statements that select the violations of a batch from the agencies' tables, and the models of the result.

Statements are built from a closed vocabulary: columns, filters and tiers come from ``bedrock_batches.violations``,
table names come from configuration and match a strict pattern, and every value is a bound parameter.

A record *matches* if it has no generated content, passes every filter and is in the requested tier. Two kinds of
matching records are left out: records of jobs in flight, and records whose id cannot be a key because it occurs more
than once in the lake, is empty or over 200 characters, or has a control character. The id alone is the key in DynamoDB,
so two violations with one id would overwrite each other's content.
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from bedrock_batches.dataset import TODAY, Filter, TableFilter
from bedrock_batches.lake.sql import Statement, identifier
from bedrock_batches.sync.failed_items import FAILED_PREFIX
from bedrock_batches.violations import (
    COLUMNS,
    CONTENT_COLUMN,
    FILTERS,
    KEY,
    MOST_ID_CHARACTERS,
    ORDER,
    TIERS,
    ViolationRecord,
)
from foundation.errors import InvalidInputError, Problem

ALL_TIERS = "all"
MOST_NAMED = 20
"""The number of unusable ids, and of holders of records in flight, that a selection names."""
ROW_FILTERS = tuple(one for one in FILTERS if isinstance(one, Filter))
(TABLES,) = (one for one in FILTERS if isinstance(one, TableFilter))
_ORDER_COLUMNS = frozenset(term.split()[0] for term in ORDER)


@dataclass(frozen=True)
class Criteria:
    """The criteria of a selection. ``priority`` is a tier or "all"; ages are counted up to ``today``.

    ``filters`` has the value of each given filter by its name; an empty list passes all. The selection has at most
    ``max_violations`` records, and at most ``max_percent`` of those that a job can take, rounded up.
    """

    filters: Mapping[str, Any]
    today: date
    priority: str = ALL_TIERS
    max_violations: int = 10_000
    max_percent: float = 100


@dataclass(frozen=True)
class FilterCount:
    """The number of records that remain after this filter and those before it. The name is the request's."""

    name: str
    remaining: int


@dataclass(frozen=True)
class Counts:
    """The counts of a selection. A job can take ``matching - in_flight - unusable_ids``."""

    matching: int
    in_flight: int
    unusable_ids: int

    @property
    def available(self) -> int:
        return self.matching - self.in_flight - self.unusable_ids


@dataclass(frozen=True)
class Holder:
    """A job, or an object under ``bedrock-batches/sync-failed/``, that holds matching records."""

    name: str
    records: int
    example: str


@dataclass(frozen=True)
class Selection:
    """The answer: ``count`` records in any order, each with its place by priority. They can be read once, while the
    lake is open.

    ``filters`` has the number that each filter left, for an empty selection and where it is asked for; ``emptied_by``
    is the one that left none. ``held_by`` names the holders of the records in ``counts.in_flight``; ``unusable_ids``
    are the first MOST_NAMED ids of ``counts.unusable_ids``.
    """

    counts: Counts
    count: int
    records: Iterator[tuple[int, ViolationRecord]]
    filters: tuple[FilterCount, ...] = ()
    unusable_ids: tuple[str, ...] = ()
    held_by: tuple[Holder, ...] = ()

    @property
    def emptied_by(self) -> str | None:
        return next((step.name for step in self.filters if step.remaining == 0), None)


def is_usable_id(violation_id: str) -> bool:
    """Whether an id can be a key, apart from being unique. The same rule as in SQL."""
    return 1 <= len(violation_id) <= MOST_ID_CHARACTERS and not _CONTROL.search(violation_id)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def select_agencies(filters: Mapping[str, Any], configured: Sequence[str]) -> list[str]:
    """The configured agencies that the filters name, in the order of the configuration; all if they name none. Raises
    InvalidInputError for others."""
    wanted: Sequence[str] = filters.get(TABLES.name) or ()
    if not wanted:
        return list(configured)
    known = {agency.casefold() for agency in configured}
    problems = [
        Problem(
            path=f"config.filters.{TABLES.name}[{index}]",
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
    """The number of ``available`` records within the limits; a percentage is rounded up."""
    share = math.ceil(Fraction(str(criteria.max_percent)) * available / 100)
    return max(0, min(criteria.max_violations, share, available))


_TIER = "CASE " + " ".join(f"WHEN {tier.condition} THEN {place}" for place, tier in enumerate(TIERS, 1)) + " END"
"""A tier's number in SQL is its place in TIERS, from 1."""
_WITHOUT_CONTENT = f"{CONTENT_COLUMN} IS NULL"
_USABLE_ID = (
    f"coalesce(length({KEY}) BETWEEN 1 AND {MOST_ID_CHARACTERS} "
    f"AND NOT regexp_matches({KEY}, '[\\x00-\\x1f\\x7f]'), false)"
)


@dataclass(frozen=True)
class _Clause:
    """A condition of one selection, under its name in the diagnosis, with the parameters and columns it needs."""

    name: str
    condition: str
    columns: frozenset[str]
    parameters: Mapping[str, Any]


def _clauses(criteria: Criteria) -> Iterator[_Clause]:
    """The conditions of each given filter and of the tier."""
    for one in ROW_FILTERS:
        value = criteria.filters.get(one.name)
        if value is not None and value != []:
            yield _Clause(one.name, one.sql, one.columns, {one.parameter: value})
    if criteria.priority != ALL_TIERS:
        number = [tier.name for tier in TIERS].index(criteria.priority) + 1
        yield _Clause("priority", f"({_TIER}) = $tier", _tier_columns(), {"tier": number})


def _tier_columns() -> frozenset[str]:
    return frozenset().union(*(tier.columns for tier in TIERS))


def _read(columns: frozenset[str]) -> str:
    """The columns in the table's order, so that a statement is the same in each run."""
    return ", ".join(column.name for column in COLUMNS if column.name in columns)


def _with_today(sql: str, parameters: Mapping[str, Any], criteria: Criteria) -> Statement:
    """The parameters that the statement uses, because DuckDB refuses others."""
    return Statement(sql, {**parameters, **({TODAY[1:]: criteria.today} if TODAY in sql else {})})


def _union(schema: str, agencies: Sequence[str], columns: str) -> str:
    """One relation of the agencies' tables. ``schema`` is catalog and namespace. ``agencies`` are checked here."""
    selects = (
        f"SELECT '{identifier(agency)}' AS source, {columns} FROM {schema}.{identifier(agency)}" for agency in agencies
    )
    return "(" + " UNION ALL ".join(selects) + ")"


def _in_flight_lines(options: str = "") -> str:
    return (
        "read_csv($files, auto_detect=false, header=false, delim='\t', quote='', escape='', new_line='\\n', "
        f"columns={{'{KEY}': 'VARCHAR', 'of': 'VARCHAR'}}{options})"
    )


def in_flight_statement(files: Sequence[str]) -> Statement:
    """Fill the temporary table ``in_flight`` from files of lines with an id, a tab, and an agency or an object."""
    if not files:
        return Statement(f"CREATE OR REPLACE TEMP TABLE in_flight ({KEY} VARCHAR)", {})
    sql = f"CREATE OR REPLACE TEMP TABLE in_flight AS SELECT DISTINCT {KEY} FROM {_in_flight_lines()}"
    return Statement(sql, {"files": list(files)})


def held_statement(files: Sequence[str]) -> Statement:
    """The MOST_NAMED holders with the most matching records in flight, each with a count and one id. A file is named
    after its holder, a job. Content that waits for its merge is held by an object, which its lines name."""
    holder = f"CASE WHEN starts_with(of, '{FAILED_PREFIX}') THEN of ELSE parse_filename(filename, true) END"
    sql = (
        f"SELECT holder, count(*), min({KEY}) FROM (SELECT DISTINCT {KEY}, {holder} AS holder "
        f"FROM {_in_flight_lines(', filename=true')}) SEMI JOIN (FROM matching WHERE in_flight) USING ({KEY}) "
        f"GROUP BY holder ORDER BY count(*) DESC, holder LIMIT {MOST_NAMED}"
    )
    return Statement(sql, {"files": list(files)})


def matching_statement(
    schema: str, agencies: Sequence[str], configured: Sequence[str], criteria: Criteria
) -> Statement:
    """Fill the temporary table ``matching``: key, order and whether it is left out, of each matching record.

    Reads only the columns of the key, the order, the tiers and the given filters. Ids are compared over all records of
    all ``configured`` agencies.
    """
    clauses = list(_clauses(criteria))
    columns = frozenset({KEY, CONTENT_COLUMN}) | _ORDER_COLUMNS | _tier_columns()
    columns = columns.union(*(clause.columns for clause in clauses))
    conditions = [_WITHOUT_CONTENT, *(clause.condition for clause in clauses)]
    sql = (
        "CREATE OR REPLACE TEMP TABLE matching AS WITH "
        f"candidate AS (SELECT source, {_read(_ORDER_COLUMNS)}, {_TIER} AS tier "
        f"FROM {_union(schema, agencies, _read(columns))} WHERE {' AND '.join(conditions)}), "
        f"repeated AS (SELECT {KEY} FROM {_union(schema, configured, KEY)} "
        f"GROUP BY {KEY} HAVING count(*) > 1) "
        "SELECT candidate.*, "
        f"NOT {_USABLE_ID} OR {KEY} IN (SELECT {KEY} FROM repeated WHERE {KEY} IS NOT NULL) "
        f"AS unusable_id, coalesce({KEY} IN (FROM in_flight), false) AS in_flight FROM candidate"
    )
    return _with_today(sql, _parameters(clauses), criteria)


def _parameters(clauses: Sequence[_Clause]) -> dict[str, Any]:
    return {name: value for clause in clauses for name, value in clause.parameters.items()}


def counts_statement() -> Statement:
    """Counts of matching records, of those in flight, and of the others whose id cannot be used."""
    return Statement(
        "SELECT count(*), count(*) FILTER (in_flight), count(*) FILTER (unusable_id AND NOT in_flight) FROM matching",
        {},
    )


def unusable_statement() -> Statement:
    """The first ids that cannot be used. A missing id is empty, a long one is cut."""
    sql = (
        f"SELECT DISTINCT left(coalesce({KEY}, ''), {MOST_ID_CHARACTERS}) AS id FROM matching "
        f"WHERE unusable_id AND NOT in_flight ORDER BY id LIMIT {MOST_NAMED}"
    )
    return Statement(sql, {})


def chosen_statement(limit: int) -> Statement:
    """Fill the temporary table ``chosen``: the first ``limit`` records of ``matching``, with their places from 0."""
    sql = (
        "CREATE OR REPLACE TEMP TABLE chosen AS SELECT "
        f"row_number() OVER (ORDER BY {', '.join(('tier', *ORDER))}) - 1 AS place, "
        f"source, {KEY}, tier FROM matching WHERE NOT in_flight AND NOT unusable_id QUALIFY place < $most"
    )
    return Statement(sql, {"most": limit})


def records_statement(schema: str, agencies: Sequence[str]) -> Statement:
    """Place and columns of ViolationRecord (the tier by its number) of each record of ``chosen``, in no order: DuckDB
    sorts texts in memory and fails if they do not fit."""
    by_name = {column.name: column for column in COLUMNS}
    others = [by_name[name] for name in ViolationRecord._fields[3:]]
    read = [
        f"left({column.name}, {column.read_characters}) AS {column.name}" if column.read_characters else column.name
        for column in others
    ]
    sql = (
        f"SELECT place, {KEY}, source, tier, {', '.join(column.name for column in others)} "
        f"FROM {_union(schema, agencies, ', '.join([KEY, *read]))} JOIN chosen USING (source, {KEY})"
    )
    return Statement(sql, {})


def diagnosis_statement(schema: str, agencies: Sequence[str], criteria: Criteria) -> tuple[list[str], Statement]:
    """Names of the filters, and a statement whose one row has the number that each leaves, in the same order."""
    clauses = list(_clauses(criteria))
    names = [TABLES.name, "withoutGeneratedContent", *(clause.name for clause in clauses)]
    conditions = ["true", _WITHOUT_CONTENT, *(clause.condition for clause in clauses)]
    counts = (f"count(*) FILTER ({' AND '.join(conditions[: n + 1])})" for n in range(len(conditions)))
    columns = frozenset({CONTENT_COLUMN}).union(*(clause.columns for clause in clauses))
    sql = f"SELECT {', '.join(counts)} FROM {_union(schema, agencies, _read(columns))}"
    return names, _with_today(sql, _parameters(clauses), criteria)
