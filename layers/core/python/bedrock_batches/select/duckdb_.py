"""Queries of the lake: selections, merges, and the violations that have content."""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import boto3

from bedrock_batches.lake.duckdb_ import (
    DEFAULT_RESOURCES,
    TABLE_PROPERTIES,
    Attach,
    LakeCatalog,
    LakeLocation,
    Resources,
    aws_location,
    credentials_of,
    s3_tables,
)
from bedrock_batches.lake.sql import Statement, identifier, rows_statement
from bedrock_batches.select import selection as statements
from bedrock_batches.select.selection import Counts, Criteria, FilterCount, Holder, Selection
from bedrock_batches.sync.duckdb_ import (
    COMMIT_ATTEMPTS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Merged,
    merge_updates,
)
from bedrock_batches.sync.lake_content import ContentUpdate
from bedrock_batches.violations import CONTENT_COLUMN, KEY, TIERS, ViolationRecord
from foundation.aws.retry import retried
from foundation.errors import CommitConflictError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FETCH_ROWS = 1_000


@dataclass(frozen=True)
class TableCounts:
    """Counts of an agency's table: its records, and those with generated content."""

    records: int
    with_content: int


class Lake(LakeCatalog):
    """The lake with the queries of the use cases."""

    def __init__(
        self,
        location: LakeLocation,
        attach: Attach,
        resources: Resources = DEFAULT_RESOURCES,
        sleep: Callable[[float], None] = lambda _: None,
        table_properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(location, attach, resources, table_properties)
        self._sleep = sleep

    @contextmanager
    def select(
        self, criteria: Criteria, in_flight: Sequence[Path] = (), *, count_filters: bool = False
    ) -> Iterator[Selection]:
        """The records of a batch, while the block runs. They are streamed, some hundred at a time.

        ``in_flight`` are local files of lines ``<violation_id>\t<agency>``, whose records are left out. Each file is
        named after the job that holds its records. A line with an object's key instead of an agency is held by that
        object. ``count_filters``: also count what each filter leaves, which reads the filters' columns once more. An
        empty selection is always counted.

        Memory: keys of all matching records, on disk beyond the limit of ``Resources``, and a row group of the texts.
        Raises InvalidInputError for an agency that is not configured, DeploymentError if access is denied or a table is
        missing, ServiceUnavailableError if the lake does not answer.
        """
        schema, configured = self.location.schema, self.location.agencies
        agencies = statements.select_agencies(criteria.filters, configured)
        with self.connected() as connection:
            connection.execute("BEGIN")
            _run(connection, statements.in_flight_statement([str(file) for file in in_flight]))
            _run(connection, statements.matching_statement(schema, agencies, configured, criteria))
            counts = Counts(*_one(_run(connection, statements.counts_statement())))
            unusable: tuple[str, ...] = ()
            if counts.unusable_ids:
                unusable = tuple(one for (one,) in _run(connection, statements.unusable_statement()).fetchall())
            held: tuple[Holder, ...] = ()
            if counts.in_flight:
                found = _run(connection, statements.held_statement([str(file) for file in in_flight]))
                held = tuple(Holder(*row) for row in found.fetchall())
            most = statements.most_records(criteria, counts.available)
            diagnosis: tuple[FilterCount, ...] = ()
            if count_filters or most == 0:
                diagnosis = self._diagnose(connection, agencies, criteria, counts)
            if most == 0:
                yield Selection(counts, 0, iter(()), diagnosis, unusable, held)
            else:
                # Texts are read page by page: read ahead, a row group of them takes 100 MB more.
                connection.execute("SET disable_parquet_prefetching = true")
                _run(connection, statements.chosen_statement(most))
                _run(connection, statements.records_statement(schema, agencies))
                yield Selection(counts, most, _records(connection), diagnosis, unusable, held)

    def _diagnose(
        self, connection: DuckDBPyConnection, agencies: Sequence[str], criteria: Criteria, counts: Counts
    ) -> tuple[FilterCount, ...]:
        names, statement = statements.diagnosis_statement(self.location.schema, agencies, criteria)
        remaining = _one(_run(connection, statement))
        steps = [FilterCount(name, count) for name, count in zip(names, remaining, strict=True)]
        steps.append(FilterCount("notInFlight", counts.matching - counts.in_flight))
        steps.append(FilterCount("usableViolationId", counts.available))
        steps.append(FilterCount("limits", statements.most_records(criteria, counts.available)))
        return tuple(steps)

    def merge(self, agency: str, updates: Sequence[ContentUpdate]) -> Merged:
        """Write content into the agency's table with one MERGE. ``updates`` have each violation once.

        Writes only into rows that exist and whose id no other row shares, never older content over newer, never
        unverified content over verified. A commit that loses against another writer is repeated on the new table.
        Raises CommitConflictError after COMMIT_ATTEMPTS lost commits, and the errors of ``select``.
        """
        table = f"{self.location.schema}.{identifier(agency)}"

        def merge_once() -> Merged:
            with self.connected() as connection:
                return merge_updates(connection, table, updates)

        return retried(
            merge_once,
            on=CommitConflictError,
            attempts=COMMIT_ATTEMPTS,
            first_pause_seconds=FIRST_PAUSE_SECONDS,
            longest_pause_seconds=LONGEST_PAUSE_SECONDS,
            sleep=self._sleep,
        )

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, list[str]]:
        """The agencies whose tables have each of the violations. Raises the errors of ``select``."""
        found: dict[str, list[str]] = {}
        with self.connected() as connection:
            wanted = rows_statement([(KEY, "VARCHAR")], ({KEY: one} for one in violation_ids))
            connection.execute(f"CREATE TEMP TABLE wanted AS {wanted.sql}", wanted.parameters)
            for agency in self.location.agencies:
                table = f"{self.location.schema}.{identifier(agency)}"
                rows = connection.execute(f"SELECT DISTINCT {KEY} FROM {table} SEMI JOIN wanted USING ({KEY})")
                for (violation_id,) in rows.fetchall():
                    found.setdefault(violation_id, []).append(agency)
        return found

    def have_content(self, violation_ids: Collection[str]) -> dict[str, bool]:
        """Whether the lake has content of each violation that it has. Raises the errors of ``select``."""
        found: dict[str, bool] = {}
        with self.connected() as connection:
            wanted = rows_statement([(KEY, "VARCHAR")], ({KEY: one} for one in violation_ids))
            connection.execute(f"CREATE TEMP TABLE wanted AS {wanted.sql}", wanted.parameters)
            for agency in self.location.agencies:
                table = f"{self.location.schema}.{identifier(agency)}"
                rows = connection.execute(
                    f"SELECT {KEY}, bool_or({CONTENT_COLUMN} IS NOT NULL) FROM {table} "
                    f"SEMI JOIN wanted USING ({KEY}) GROUP BY {KEY}"
                )
                for violation_id, has_content in rows.fetchall():
                    found[violation_id] = has_content or found.get(violation_id, False)
        return found

    def counts(self) -> dict[str, TableCounts]:
        """The counts of each configured agency."""
        with self.connected() as connection:
            return {
                agency: TableCounts(
                    *_one(
                        connection.execute(
                            f"SELECT count(*), count({CONTENT_COLUMN}) FROM {self.location.schema}.{identifier(agency)}"
                        )
                    )
                )
                for agency in self.location.agencies
            }


def _run(connection: DuckDBPyConnection, statement: Statement) -> DuckDBPyConnection:
    return connection.execute(statement.sql, statement.parameters)


def _one(connection: DuckDBPyConnection) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.fetchone()
    assert row is not None
    return row


def _records(connection: DuckDBPyConnection) -> Iterator[tuple[int, ViolationRecord]]:
    while rows := connection.fetchmany(FETCH_ROWS):
        for place, violation_id, agency, tier, *others in rows:
            yield place, ViolationRecord(violation_id, agency, TIERS[tier - 1].name, *others)


def aws_lake(
    table_bucket_arn: str,
    namespace: str,
    agencies: Sequence[str],
    resources: Resources = DEFAULT_RESOURCES,
    sleep: Callable[[float], None] = lambda _: None,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
) -> Lake:
    """The lake on S3 Tables; see ``aws_location``."""
    session = session or boto3.Session()
    location = aws_location(table_bucket_arn, namespace, agencies, session, endpoint_url)
    return Lake(location, s3_tables(location, lambda: credentials_of(session)), resources, sleep, TABLE_PROPERTIES)
