"""The lake: one Iceberg table for each agency in an S3 Tables bucket, read and written through DuckDB.

DuckDB's extensions come with the layer (wheels ``duckdb-extension-*``) and are loaded by path; it downloads nothing.
DuckDB 1.5 does not repeat a commit that lost against another writer, so that is done here, on a fresh attachment.

Iceberg REST endpoint of S3 Tables: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import duckdb
import orjson

from bedrock_batches.select import selection as statements
from bedrock_batches.select.selection import Counts, Criteria, FilterCount, Holder, Selection
from bedrock_batches.sync.lake_content import ContentUpdate
from bedrock_batches.violations import COLUMNS, CONTENT, CONTENT_COLUMN, TIERS, ViolationRecord
from foundation.aws.retry import retried
from foundation.errors import (
    BatchProcessorError,
    CommitConflictError,
    DeploymentError,
    PermanentError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CATALOG = "lake"
EXTENSIONS = ("httpfs", "avro", "iceberg")
"""In the order in which they need each other. ``aws`` is in the layer too, but credentials come from boto3."""
FETCH_ROWS = 1_000
TABLE_PROPERTIES = MappingProxyType({"write.parquet.row-group-size-bytes": str(16 * 1024 * 1024)})
"""Who reads a page needs twice its size in memory, and DuckDB writes pages of up to 100 MB, or of a row group."""
COMMIT_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class LakeLocation:
    """Where the lake is. ``endpoint`` is the Iceberg REST endpoint, ``storage_endpoint`` that of S3, as URLs."""

    table_bucket_arn: str
    namespace: str
    agencies: tuple[str, ...]
    endpoint: str
    storage_endpoint: str

    @property
    def region(self) -> str:
        return self.table_bucket_arn.split(":")[3]

    @property
    def schema(self) -> str:
        """Catalog and namespace, as SQL."""
        return f"{CATALOG}.{statements.identifier(self.namespace)}"


@dataclass(frozen=True)
class Credentials:
    """AWS credentials at one moment; ``token`` is "" for those of a user."""

    access_key: str
    secret_key: str
    token: str = ""


@dataclass(frozen=True)
class Resources:
    """What DuckDB may use. Beyond ``memory_mb`` it writes to a folder of its own in /tmp, up to ``temporary_mb``.

    Each thread holds a row group of each column that it reads; a function of 2 GB has little more than one core.
    """

    memory_mb: int = 384
    threads: int = 1
    temporary_mb: int = 512


@dataclass(frozen=True)
class Merged:
    """What became of a merge's updates; each is in exactly one of the five.

    ``updated``: rows written. ``unchanged``: rows that had this content or newer content already. ``missing``: ids that
    the table lacks. ``verified``: ids of verified rows whose update is not verified, and does not say since when.
    ``repeated``: ids that several rows share. The last three are left as they are.
    """

    updated: int
    unchanged: int
    missing: tuple[str, ...] = ()
    verified: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableCounts:
    """Records of an agency's table, and those of them with generated content."""

    records: int
    with_content: int


Attach = Callable[["DuckDBPyConnection"], None]
"""Makes the catalog ``lake`` visible on a connection; tests attach a local catalog."""


class Lake:
    """Each use opens a DuckDB of its own, so nothing is cached that another writer may have changed."""

    def __init__(
        self,
        location: LakeLocation,
        attach: Attach,
        resources: Resources = Resources(),
        sleep: Callable[[float], None] = lambda _: None,
        table_properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``table_properties`` are those that a table of this lake should have."""
        self.location = location
        self._table_properties = table_properties
        self._attach = attach
        self._resources = resources
        self._sleep = sleep

    @property
    def agencies(self) -> tuple[str, ...]:
        return self.location.agencies

    @contextmanager
    def connected(self) -> Iterator[DuckDBPyConnection]:
        """A connection with the catalog attached. DuckDB's errors leave it as ours (``foundation.errors``)."""
        with tempfile.TemporaryDirectory(prefix="lake-") as folder:
            config: dict[str, str | bool | int | float | list[str]] = {
                "threads": self._resources.threads,
                "memory_limit": f"{self._resources.memory_mb}MB",
                "temp_directory": folder,
                "max_temp_directory_size": f"{self._resources.temporary_mb}MB",
                "home_directory": folder,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
            }
            with translated(self.location), duckdb.connect(config=config) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET enable_progress_bar = false")  # it would write into the log
                connection.execute("SET enable_external_file_cache = false")  # every file is read once, and it is large
                self._attach(connection)
                yield connection

    def make_table(self, connection: DuckDBPyConnection, name: str) -> str:
        """Make the agency's table unless it is there, with the properties that it should have; its name in SQL."""
        table = f"{self.location.schema}.{statements.identifier(name)}"
        columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS)
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        if self._table_properties:
            has = dict(connection.execute(f"SELECT * FROM iceberg_table_properties({table})").fetchall())
            lacks = {key: value for key, value in self._table_properties.items() if has.get(key) != value}
            if lacks:
                pairs = ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in lacks.items())
                connection.execute(f"CALL set_iceberg_table_properties({table}, {{{pairs}}})")
        return table

    @contextmanager
    def select(self, criteria: Criteria, in_flight: Sequence[Path] = ()) -> Iterator[Selection]:
        """The records that a batch takes, while the block runs; they are streamed, some hundred at a time.

        ``in_flight`` are local files of lines ``<violation_id>\\t<agency>``, whose records are left out. Each is named
        after the job that holds them; a line that names an object instead of an agency is held by that object.

        Memory: keys of all matching records, on disk beyond the limit of ``Resources``, and a row group of the texts.

        Raises InvalidInputError for an agency that is not configured, DeploymentError when access is denied or a table
        is missing, ServiceUnavailableError when the lake does not answer.
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
            if most == 0:
                diagnosis = self._diagnose(connection, agencies, criteria, counts)
                yield Selection(counts, 0, iter(()), diagnosis, unusable, held)
            else:
                # Texts are read page by page: fetched ahead, a row group of them takes 100 MB more.
                connection.execute("SET disable_parquet_prefetching = true")
                _run(connection, statements.chosen_statement(most))
                _run(connection, statements.records_statement(schema, agencies))
                yield Selection(counts, most, _records(connection), unusable_ids=unusable, held_by=held)

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
        """Write content into the agency's table with one MERGE.

        Only into rows that exist and whose id no other row shares, never an older version over a newer, never
        unverified content over verified.

        ``updates`` hold each violation once. A commit that loses against another writer is repeated on the table as
        it is then. Raises CommitConflictError when it has lost COMMIT_ATTEMPTS times, and what ``select`` raises.
        """
        table = f"{self.location.schema}.{statements.identifier(agency)}"
        return retried(
            lambda: self._merge_once(table, updates),
            on=CommitConflictError,
            attempts=COMMIT_ATTEMPTS,
            first_pause_seconds=FIRST_PAUSE_SECONDS,
            longest_pause_seconds=LONGEST_PAUSE_SECONDS,
            sleep=self._sleep,
        )

    def _merge_once(self, table: str, updates: Sequence[ContentUpdate]) -> Merged:
        with self.connected() as connection:
            incoming = rows_statement(_INCOMING, map(_row, updates))
            connection.execute(f"CREATE TEMP TABLE incoming AS {incoming.sql}", incoming.parameters)
            connection.execute("BEGIN")
            found = connection.execute(_COMPARED.format(table=table)).fetchall()
            by_fate: dict[str, list[str]] = {}
            for violation_id, fate in found:
                by_fate.setdefault(fate, []).append(violation_id)
            named = {fate: tuple(sorted(by_fate.get(fate, ()))) for fate in ("missing", "verified", "repeated")}
            updated = len(by_fate.get("outdated", ()))
            if updated:
                connection.execute(_MERGE.format(table=table), {"repeated": list(named["repeated"])})
            connection.execute("COMMIT")
        return Merged(updated, len(by_fate.get("unchanged", ())), **named)

    def agencies_of(self, violation_ids: Collection[str]) -> dict[str, list[str]]:
        """The agencies whose tables have each of the violations. Raises what ``select`` raises."""
        found: dict[str, list[str]] = {}
        with self.connected() as connection:
            wanted = rows_statement([("violation_id", "VARCHAR")], ({"violation_id": one} for one in violation_ids))
            connection.execute(f"CREATE TEMP TABLE wanted AS {wanted.sql}", wanted.parameters)
            for agency in self.location.agencies:
                table = f"{self.location.schema}.{statements.identifier(agency)}"
                rows = connection.execute(
                    f"SELECT DISTINCT violation_id FROM {table} SEMI JOIN wanted USING (violation_id)"
                )
                for (violation_id,) in rows.fetchall():
                    found.setdefault(violation_id, []).append(agency)
        return found

    def have_content(self, violation_ids: Collection[str]) -> dict[str, bool]:
        """Whether the lake has content of each of the violations that it has. Raises what ``select`` raises."""
        found: dict[str, bool] = {}
        with self.connected() as connection:
            wanted = rows_statement([("violation_id", "VARCHAR")], ({"violation_id": one} for one in violation_ids))
            connection.execute(f"CREATE TEMP TABLE wanted AS {wanted.sql}", wanted.parameters)
            for agency in self.location.agencies:
                table = f"{self.location.schema}.{statements.identifier(agency)}"
                rows = connection.execute(
                    f"SELECT violation_id, bool_or(bedrock_title IS NOT NULL) FROM {table} "
                    "SEMI JOIN wanted USING (violation_id) GROUP BY violation_id"
                )
                for violation_id, has_content in rows.fetchall():
                    found[violation_id] = has_content or found.get(violation_id, False)
        return found

    def counts(self) -> dict[str, TableCounts]:
        """Of each configured agency."""
        with self.connected() as connection:
            return {
                agency: TableCounts(
                    *_one(
                        connection.execute(
                            f"SELECT count(*), count({CONTENT_COLUMN}) "
                            f"FROM {self.location.schema}.{statements.identifier(agency)}"
                        )
                    )
                )
                for agency in self.location.agencies
            }


_TYPES = {column.name: column.type for column in COLUMNS}
_WRITTEN = (
    *((field.column, field.name) for field in CONTENT),
    ("bedrock_generated_at", "generated_at"),
    ("is_verified", "is_verified"),
    ("verified_at", "verified_at"),
)
"""Column of the table, and attribute of ``ContentUpdate``."""
_INCOMING = (("violation_id", "VARCHAR"), *((name, _TYPES[column]) for column, name in _WRITTEN))
_NEVER = "-9223372036854775807"
"""Older than any time, in microseconds: content can be of a time before 1970."""
_VERIFIED = f"""(
    coalesce(target.is_verified, false) AND NOT incoming.is_verified
    AND coalesce(epoch_us(incoming.verified_at), {_NEVER}) <= coalesce(epoch_us(target.verified_at), {_NEVER}))
"""
"""A person verified the row, and the update does not say that this was taken back since."""
_OUTDATED = f"""(
    row(coalesce(epoch_us(target.bedrock_generated_at), {_NEVER}), coalesce(epoch_us(target.verified_at), {_NEVER}))
        <= row(epoch_us(incoming.generated_at), coalesce(epoch_us(incoming.verified_at), {_NEVER}))
    AND ({" OR ".join(f"target.{column} IS DISTINCT FROM incoming.{name}" for column, name in _WRITTEN)}))
"""
_COMPARED = f"""
SELECT incoming.violation_id,
    CASE WHEN count(target.violation_id) = 0 THEN 'missing'
        WHEN count(target.violation_id) > 1 THEN 'repeated'
        WHEN bool_or({_VERIFIED}) THEN 'verified'
        WHEN bool_or({_OUTDATED}) THEN 'outdated'
        ELSE 'unchanged' END
FROM incoming LEFT JOIN {{table}} AS target ON target.violation_id = incoming.violation_id
GROUP BY incoming.violation_id
"""
_MERGE = f"""
MERGE INTO {{table}} AS target USING incoming ON target.violation_id = incoming.violation_id
WHEN MATCHED AND {_OUTDATED} AND NOT {_VERIFIED} AND NOT list_contains($repeated::VARCHAR[], incoming.violation_id)
THEN UPDATE SET {", ".join(f"{column} = incoming.{name}" for column, name in _WRITTEN)}
"""


def rows_statement(columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> statements.Statement:
    """A query that gives these rows; columns as (name, DuckDB type), amounts and times as text.

    The rows travel as one JSON parameter: DuckDB takes a hundred times longer to bind as many Python values.
    """
    types = {name: [kind.removesuffix("[]")] if kind.endswith("[]") else kind for name, kind in columns}
    return statements.Statement(
        "SELECT entry.* FROM (SELECT unnest(from_json($rows, $types)) AS entry)",
        {"rows": orjson.dumps(list(rows)).decode(), "types": orjson.dumps([types]).decode()},
    )


def _row(update: ContentUpdate) -> dict[str, Any]:
    return {name: getattr(update, name) for name, _ in _INCOMING}


def _run(connection: DuckDBPyConnection, statement: statements.Statement) -> DuckDBPyConnection:
    return connection.execute(statement.sql, statement.parameters)


def _one(connection: DuckDBPyConnection) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.fetchone()
    assert row is not None
    return row


def _records(connection: DuckDBPyConnection) -> Iterator[tuple[int, ViolationRecord]]:
    while rows := connection.fetchmany(FETCH_ROWS):
        for place, violation_id, agency, tier, *others in rows:
            yield place, ViolationRecord(violation_id, agency, TIERS[tier - 1].name, *others)


@contextmanager
def translated(location: LakeLocation) -> Iterator[None]:
    """Run a block that uses DuckDB; what it raises leaves as an error of ``foundation.errors``."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error, location) from error


def translate(error: duckdb.Error, location: LakeLocation) -> BatchProcessorError:
    """DuckDB reports the catalog's answers as text; its classes tell only in which step they came."""
    said = str(error).strip()
    where = f"the lake {location.table_bucket_arn}, namespace {location.namespace}"
    if "CommitFailedException" in said or "Conflict_409" in said or "branch main has changed" in said:
        return CommitConflictError(f"Another writer changed a table of {where} at the same time: {said}")
    if any(sign in said for sign in ("Forbidden_403", "HTTP 403", "AccessDenied", "Unauthorized_401", "HTTP 401")):
        return DeploymentError(f"Access to {where} was denied: {said}. Allow it in the role of this function.")
    if isinstance(error, duckdb.CatalogException):
        table = re.search(r"Table with name (\S+) does not exist", said)
        missing = f"no table {table[1]}" if table else "no tables"
        return DeploymentError(f"There is {missing} yet in {where}: run `make seed-lake`, which creates all tables.")
    if isinstance(error, duckdb.OutOfMemoryException) or "No space left on device" in said:
        return PermanentError(
            f"DuckDB ran out of its memory or of its space in /tmp: {said}. Give the function more of it, "
            "or narrow the filters."
        )
    if isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.TransactionException):
        return ServiceUnavailableError(f"No answer from {where}: {said}. Try again later.")
    return PermanentError(f"DuckDB could not work on {where}: {said}")


def aws_lake(
    table_bucket_arn: str,
    namespace: str,
    agencies: Sequence[str],
    resources: Resources = Resources(),
    sleep: Callable[[float], None] = lambda _: None,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
) -> Lake:
    """The lake on S3 Tables. Endpoints are those that the SDK uses, ``AWS_ENDPOINT_URL`` among them.

    ``endpoint_url`` overrides them, as it does in boto3.
    """
    session = session or boto3.Session()
    region = table_bucket_arn.split(":")[3]

    def endpoint(service: Any) -> str:
        client = session.client(service, region_name=region, endpoint_url=endpoint_url)
        return str(client.meta.endpoint_url).rstrip("/")

    location = LakeLocation(
        table_bucket_arn=table_bucket_arn,
        namespace=namespace,
        agencies=tuple(agencies),
        endpoint=f"{endpoint('s3tables')}/iceberg",
        storage_endpoint=endpoint("s3"),
    )
    return Lake(location, s3_tables(location, lambda: _credentials(session)), resources, sleep, TABLE_PROPERTIES)


def _credentials(session: boto3.Session) -> Credentials:
    found = session.get_credentials()
    if found is None:
        raise DeploymentError("No AWS credentials were found for the lake. Give the function a role.")
    frozen = found.get_frozen_credentials()
    return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token or "")


def s3_tables(location: LakeLocation, credentials: Callable[[], Credentials]) -> Attach:
    """Attaches the table bucket as catalog ``lake``, by the same options for AWS and for another endpoint.

    ``ENDPOINT_TYPE s3_tables`` does not go together with an endpoint, so the last four options stand in its place. S3
    Tables has no commit of several tables, takes no staged tables, and drops a table only with its files
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html).
    """

    def attach(connection: DuckDBPyConnection) -> None:
        for extension in EXTENSIONS:
            connection.execute(f"LOAD {_quoted(str(extension_path(extension)))}")
        now = credentials()
        storage = urlsplit(location.storage_endpoint)
        connection.execute(
            "CREATE SECRET aws (TYPE s3, KEY_ID $access_key, SECRET $secret_key, SESSION_TOKEN $token, REGION $region, "
            "ENDPOINT $endpoint, USE_SSL $ssl, URL_STYLE $style)",
            {
                "access_key": now.access_key,
                "secret_key": now.secret_key,
                "token": now.token,
                "region": location.region,
                "endpoint": storage.netloc,
                "ssl": storage.scheme == "https",
                # AWS answers both styles; elsewhere a bucket's own host name would have to resolve.
                "style": "vhost" if (storage.hostname or "").endswith(".amazonaws.com") else "path",
            },
        )
        connection.execute(
            f"ATTACH {_quoted(location.table_bucket_arn)} AS {CATALOG} (TYPE iceberg, SECRET aws, "
            f"ENDPOINT {_quoted(location.endpoint)}, AUTHORIZATION_TYPE 'sigv4', SIGV4_SERVICE 's3tables', "
            f"SIGV4_REGION {_quoted(location.region)}, STAGE_CREATE_TABLES false, REMOVE_FILES_ON_DELETE false, "
            "PURGE_REQUESTED true, DISABLE_MULTI_TABLE_COMMIT true)"
        )

    return attach


def extension_path(name: str) -> Path:
    """The file of an extension, from its wheel. Raises DeploymentError when the layer lacks it."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(package.submodule_search_locations or []) if package else []
    files = [file for folder in folders for file in Path(folder).glob(f"extensions/*/{name}.duckdb_extension")]
    if not files:
        raise DeploymentError(f"DuckDB's extension {name} is not installed: deploy the layer ventureos-duckdb.")
    return files[0]


def _quoted(value: str) -> str:
    """A string literal, where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"
