"""Opens the lake: one Iceberg table for each agency in an S3 Tables bucket, through DuckDB.

DuckDB's extensions come with the layer (wheels ``duckdb-extension-*``) and are loaded by path; it downloads nothing.

Iceberg REST endpoint of S3 Tables: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import duckdb

from bedrock_batches.lake.sql import identifier
from bedrock_batches.violations import COLUMNS
from foundation.errors import (
    BatchProcessorError,
    CommitConflictError,
    DeploymentError,
    PermanentError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_VALUE = re.compile(r"""'.*'|".*"|(?<=value )\S+""")
"""A value of a row in an error of DuckDB. Errors are logged, and values are not."""
CATALOG = "lake"
EXTENSIONS = ("httpfs", "avro", "iceberg")
"""Extensions in the order of their dependencies. ``aws`` is in the layer too, but credentials come from boto3."""
TABLE_PROPERTIES = MappingProxyType({"write.parquet.row-group-size-bytes": str(16 * 1024 * 1024)})
"""Properties of each table. Reading a page takes twice its size in memory, and DuckDB writes pages of up to 100 MB
unless row groups are smaller."""


@dataclass(frozen=True)
class LakeLocation:
    """The place of the lake. ``endpoint`` is the Iceberg REST endpoint, ``storage_endpoint`` that of S3, as URLs."""

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
        return f"{CATALOG}.{identifier(self.namespace)}"


@dataclass(frozen=True)
class Credentials:
    """AWS credentials at one moment. ``token`` is "" for an IAM user."""

    access_key: str
    secret_key: str
    token: str = ""


@dataclass(frozen=True)
class Resources:
    """The limits of DuckDB. Beyond ``memory_mb`` it writes to a folder of its own in /tmp, up to ``temporary_mb``.

    Each thread holds a row group of each column that it reads; a function of 2 GB has little more than one core.
    """

    memory_mb: int = 384
    threads: int = 1
    temporary_mb: int = 512


DEFAULT_RESOURCES = Resources()
Attach = Callable[["DuckDBPyConnection"], None]
"""Makes the catalog ``lake`` visible on a connection; tests attach a local catalog."""


class LakeCatalog:
    """The catalog of the lake. Each use opens its own DuckDB, so that it sees the changes of other writers."""

    def __init__(
        self,
        location: LakeLocation,
        attach: Attach,
        resources: Resources = DEFAULT_RESOURCES,
        table_properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``table_properties`` are the properties that each table of this lake should have."""
        self.location = location
        self._table_properties = table_properties
        self._attach = attach
        self._resources = resources

    @property
    def agencies(self) -> tuple[str, ...]:
        return self.location.agencies

    @contextmanager
    def connected(self) -> Iterator[DuckDBPyConnection]:
        """A connection with the catalog attached. It turns DuckDB's errors into those of ``foundation.errors``."""
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
        """Create the agency's table unless it exists, and set its properties. Returns its name in SQL."""
        table = f"{self.location.schema}.{identifier(name)}"
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
def translated(location: LakeLocation) -> Iterator[None]:
    """Run a block that uses DuckDB. Turns its errors into errors of ``foundation.errors``."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error, location) from None  # its text can have values of rows, and tracebacks are logged


def translate(error: duckdb.Error, location: LakeLocation) -> BatchProcessorError:
    """Translate an error of DuckDB by its text, because its class tells only the step in which it came."""
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
    if isinstance(error, duckdb.DataError | duckdb.InvalidInputException):
        said = _VALUE.sub("…", said.partition("\n")[0])
    return PermanentError(f"DuckDB could not work on {where}: {said}")


def aws_location(
    table_bucket_arn: str,
    namespace: str,
    agencies: Sequence[str],
    session: boto3.Session,
    endpoint_url: str | None = None,
) -> LakeLocation:
    """The lake on S3 Tables. Endpoints are those that the SDK uses, ``AWS_ENDPOINT_URL`` among them.

    ``endpoint_url`` overrides them, as it does in boto3.
    """
    region = table_bucket_arn.split(":")[3]

    def endpoint(service: Any) -> str:
        client = session.client(service, region_name=region, endpoint_url=endpoint_url)
        return str(client.meta.endpoint_url).rstrip("/")

    return LakeLocation(
        table_bucket_arn=table_bucket_arn,
        namespace=namespace,
        agencies=tuple(agencies),
        endpoint=f"{endpoint('s3tables')}/iceberg",
        storage_endpoint=endpoint("s3"),
    )


def credentials_of(session: boto3.Session) -> Credentials:
    found = session.get_credentials()
    if found is None:
        raise DeploymentError("No AWS credentials were found for the lake. Give the function a role.")
    frozen = found.get_frozen_credentials()
    return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token or "")


def s3_tables(location: LakeLocation, credentials: Callable[[], Credentials]) -> Attach:
    """Attaches the table bucket as catalog ``lake``, by the same options for AWS and for another endpoint.

    ``ENDPOINT_TYPE s3_tables`` cannot be combined with an endpoint; the last four options replace it. S3
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
                # AWS accepts both styles. Elsewhere, the bucket's own host name would have to resolve.
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
    """The file of an extension from its wheel. Raises DeploymentError if the layer lacks it."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(package.submodule_search_locations or []) if package else []
    files = [file for folder in folders for file in Path(folder).glob(f"extensions/*/{name}.duckdb_extension")]
    if not files:
        raise DeploymentError(f"DuckDB's extension {name} is not installed: deploy the layer ventureos-duckdb.")
    return files[0]


def _quoted(value: str) -> str:
    """A string literal, for places where DuckDB accepts no parameter."""
    return "'" + value.replace("'", "''") + "'"
