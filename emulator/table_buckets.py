"""S3 Tables: the Iceberg catalog serves only the documented operations, and callers' access to files is authorised.

MiniStack's catalog serves routes and options that S3 Tables does not have, such as commits of several tables at once,
and hands the root's keys to every client that loads a table. AWS hands out none: the client signs its S3 requests
itself, and they are authorised as s3tables:GetTableData and s3tables:PutTableData on the table.

* Operations and limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html
* Their answers: https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
* Permissions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-setting-up.html
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.services import s3, s3tables

KEY_PROPERTIES = frozenset({"s3.access-key-id", "s3.secret-access-key"})
READ, WRITE = "s3tables:GetTableData", "s3tables:PutTableData"
LEVELS = "\x1f"
"""Separates the levels of a namespace in a path."""
LARGEST_METADATA_BYTES = 50 * 1024 * 1024
NAMESPACE_PROPERTIES = frozenset({"owner"})
UPDATES = frozenset(
    {
        "add-schema",
        "add-snapshot",
        "add-sort-order",
        "add-spec",
        "assign-uuid",
        "remove-properties",
        "set-current-schema",
        "set-default-sort-order",
        "set-default-spec",
        "set-location",
        "set-properties",
        "set-snapshot-ref",
        "upgrade-format-version",
    }
)
"""The updates of a commit that MiniStack applies. It would ignore others."""
REQUIREMENTS = frozenset(
    {
        "assert-create",
        "assert-current-schema-id",
        "assert-default-sort-order-id",
        "assert-default-spec-id",
        "assert-last-assigned-field-id",
        "assert-last-assigned-partition-id",
        "assert-ref-snapshot-id",
        "assert-table-uuid",
    }
)

Answer = tuple[int, dict[str, str], bytes]
Route = tuple[str, list[str], list[str]]
DOCUMENTED = frozenset(
    {
        ("GET", "config"),
        ("GET", "namespaces"),
        ("POST", "namespaces"),
        ("GET", "namespaces/{}"),
        ("HEAD", "namespaces/{}"),
        ("DELETE", "namespaces/{}"),
        ("GET", "namespaces/{}/tables"),
        ("POST", "namespaces/{}/tables"),
        ("GET", "namespaces/{}/tables/{}"),
        ("HEAD", "namespaces/{}/tables/{}"),
        ("POST", "namespaces/{}/tables/{}"),
        ("DELETE", "namespaces/{}/tables/{}"),
        ("POST", "tables/rename"),
    }
)
"""The operations of "Supported Iceberg REST API operations", by method and the path below the prefix."""


def operation_of(method: str, route: Route) -> tuple[str, str]:
    """The method and path of a route, with `{}` for each name in it."""
    kind, _prefix, rest = route
    if kind == "rename":
        return method, "tables/rename"
    names = ["{}" if number % 2 == 0 else part for number, part in enumerate(rest)]
    return method, "/".join([kind, *names])


def documented_routes(find: Callable[[str, str], Route | None]) -> Callable[[str, str], Route | None]:
    """Serve only the routes that S3 Tables documents. Any other route is not found for every caller."""

    def route(method: str, path: str) -> Route | None:
        found = find(method, path)
        return found if found is not None and operation_of(method, found) in DOCUMENTED else None

    return route


def bad_request(message: str) -> Answer:
    answer: Answer = s3tables._iceberg_error(message, "BadRequestException", 400)
    return answer


def not_found(what: str, kind: str) -> Answer:
    answer: Answer = s3tables._iceberg_error(f"{what} not found", kind, 404)
    return answer


class Named:
    """The namespace and the table that a request names."""

    def __init__(self, prefix: list[str], rest: list[str]) -> None:
        self.bucket_arn = unquote("/".join(prefix))
        self.namespace = rest[0] if rest else ""
        self.table = rest[2] if len(rest) > 2 else ""

    def namespace_exists(self) -> bool:
        return s3tables._ns_key(self.bucket_arn, self.namespace) in s3tables._namespaces

    def found_table(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = s3tables._tables.get(
            s3tables._table_key(self.bucket_arn, self.namespace, self.table)
        )
        return found


def refused_namespace(data: dict[str, Any], _named: Named) -> str | None:
    """The reason to refuse CreateNamespace: more than one level, or a property other than the owner."""
    named = data.get("namespace")
    if isinstance(named, list) and len(named) != 1:
        return "Multilevel namespaces are not supported."
    unknown = sorted(set(data.get("properties") or {}) - NAMESPACE_PROPERTIES)
    return f"Namespace property is not supported: {unknown[0]}" if unknown else None


def refused_table(data: dict[str, Any], _named: Named) -> str | None:
    """The reason to refuse CreateTable: the stage-create option, or a location, which S3 Tables itself chooses."""
    if data.get("stage-create"):
        return "The stage-create option is not supported."
    return "The location of a table cannot be chosen." if data.get("location") else None


def refused_commit(data: dict[str, Any], named: Named) -> str | None:
    """The reason to refuse a commit: a new location, or an update or requirement that would be ignored."""
    place = named.found_table() or {}
    for update in data.get("updates") or []:
        if update.get("action") == "set-location" and update.get("location") != place.get("warehouseLocation"):
            return "The location of a table cannot be changed."
    updates = [update.get("action") for update in data.get("updates") or []]
    requirements = [requirement.get("type") for requirement in data.get("requirements") or []]
    unknown = [f"update {name}" for name in updates if name not in UPDATES]
    unknown += [f"requirement {name}" for name in requirements if name not in REQUIREMENTS]
    return f"Not supported: {unknown[0]}" if unknown else None


REFUSALS: dict[tuple[str, str], Callable[[dict[str, Any], Named], str | None]] = {
    ("POST", "namespaces"): refused_namespace,
    ("POST", "namespaces/{}/tables"): refused_table,
    ("POST", "namespaces/{}/tables/{}"): refused_commit,
}


def existing_namespace(named: Named, _data: dict[str, Any], _query: dict[str, Any]) -> Answer:
    return (204 if named.namespace_exists() else 404), {}, b""


def existing_table(named: Named, _data: dict[str, Any], _query: dict[str, Any]) -> Answer:
    return (204 if named.found_table() else 404), {}, b""


def drop_namespace(named: Named, _data: dict[str, Any], _query: dict[str, Any]) -> Answer:
    """dropNamespace: refuses a namespace that has tables."""
    if not named.namespace_exists():
        return not_found(f"Namespace {named.namespace}", "NoSuchNamespaceException")
    tables = list(s3tables._tables.values())
    if any((t["tableBucketARN"], t["namespace"]) == (named.bucket_arn, [named.namespace]) for t in tables):
        answer: Answer = s3tables._iceberg_error(
            f"Namespace {named.namespace} is not empty", "NamespaceNotEmptyException", 409
        )
        return answer
    s3tables._delete_namespace(named.bucket_arn, named.namespace)
    return 204, {}, b""


def drop_table(named: Named, _data: dict[str, Any], query: dict[str, Any]) -> Answer:
    """dropTable: "You can only drop tables with purge enabled", so the files go too."""
    asked = query.get("purgeRequested", "")
    if str(asked[0] if isinstance(asked, list) and asked else asked).lower() != "true":
        return bad_request("Dropping a table without purge is not supported.")
    table = named.found_table()
    if table is None:
        return not_found(f"Table {named.namespace}.{named.table}", "NoSuchTableException")
    s3tables._delete_table(named.bucket_arn, named.namespace, named.table)
    bucket, _, folder = table["warehouseLocation"].removeprefix("s3://").partition("/")
    for key in list(s3._buckets.get(bucket, {}).get("objects", {})):
        if key.startswith(f"{folder.rstrip('/')}/"):
            s3._delete_object(bucket, key)
    return 204, {}, b""


def rename_table(named: Named, data: dict[str, Any], _query: dict[str, Any]) -> Answer:
    source, target = data.get("source") or {}, data.get("destination") or {}
    named.namespace, named.table = "".join(source.get("namespace") or []), str(source.get("name", ""))
    table = named.found_table()
    if table is None:
        return not_found(f"Table {named.namespace}.{named.table}", "NoSuchTableException")
    new = {"newNamespaceName": "".join(target.get("namespace") or []), "newName": target.get("name", "")}
    status, _headers, body = s3tables._rename_table(table, named.namespace, named.table, new)
    if status < 300:
        return 204, {}, b""
    kind = "NoSuchNamespaceException" if status == 404 else "AlreadyExistsException"
    answer: Answer = s3tables._iceberg_error(json.loads(body).get("message", ""), kind, status)
    return answer


ANSWERS: dict[tuple[str, str], Callable[[Named, dict[str, Any], dict[str, Any]], Answer]] = {
    ("HEAD", "namespaces/{}"): existing_namespace,
    ("HEAD", "namespaces/{}/tables/{}"): existing_table,
    ("DELETE", "namespaces/{}"): drop_namespace,
    ("DELETE", "namespaces/{}/tables/{}"): drop_table,
    ("POST", "tables/rename"): rename_table,
}
"""Documented operations that MiniStack lacks or answers in another way."""


def as_documented(handle: Callable[..., Awaitable[Answer | None]]) -> Callable[..., Awaitable[Answer]]:
    """The catalog of S3 Tables. Undocumented requests are not found or refused."""

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        unknown: Answer = s3tables._unknown_operation()
        route = s3tables._iceberg_route(method, path)
        if route is None:
            return unknown
        _kind, prefix, rest = route
        operation, named = operation_of(method, route), Named(prefix, rest)
        place = unquote("/".join(prefix)) if prefix else str(query.get("warehouse", ""))
        if ":s3tablescatalog/" in place:
            return bad_request("The specified table bucket ARN is not valid.")
        if LEVELS in unquote(named.namespace):
            return bad_request("Multilevel namespaces are not supported.")
        try:
            data = json.loads(body) if body else {}
        except ValueError:
            return bad_request("The request body is no JSON.")
        refuse = REFUSALS.get(operation)
        refusal = refuse(data, named) if refuse else None
        table = named.found_table()
        if table and method != "DELETE" and metadata_bytes(table) > LARGEST_METADATA_BYTES:
            refusal = "The metadata.json of the table is over 50 MB."
        if refusal:
            return bad_request(refusal)
        if prefix and operation in ANSWERS:
            return ANSWERS[operation](named, data, query)
        return await handle(method, path, headers, body, query) or unknown

    return handle_request


def metadata_bytes(table: dict[str, Any]) -> int:
    """The size of the table's metadata.json."""
    return len(json.dumps(table.get("_iceberg_metadata", {})))


def table_of(path: str) -> str | None:
    """The ARN of the table of the file in the S3 path, or of all tables of the bucket if there is no such file."""
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    arns = [found["arn"] for found in list(s3tables._table_buckets.values()) if found["name"] == bucket]
    if not arns:
        return None
    location = f"s3://{bucket}/{key}"
    for table in list(s3tables._tables.values()):
        if location.startswith(f"{table['warehouseLocation'].rstrip('/')}/"):
            arn: str = table["tableARN"]
            return arn
    return f"{arns[0]}/table/*"


def data_actions(extract: Callable[..., str | None]) -> Callable[..., str | None]:
    def extract_iam_action(service: str, method: str, path: str, *arguments: Any, **options: Any) -> str | None:
        if service == "s3" and table_of(path):
            return READ if method in ("GET", "HEAD") else WRITE
        return extract(service, method, path, *arguments, **options)

    return extract_iam_action


def data_resources(extract: Callable[..., str]) -> Callable[..., str]:
    def extract_resource_arn(service: str, method: str, path: str, *arguments: Any, **options: Any) -> str:
        table = table_of(path) if service == "s3" else None
        return table or extract(service, method, path, *arguments, **options)

    return extract_resource_arn


def without_keys(respond: Callable[..., Answer]) -> Callable[..., Answer]:
    """The answer of the catalog without credentials."""

    def answer(*arguments: Any, **options: Any) -> Answer:
        status, headers, body = respond(*arguments, **options)
        content = json.loads(body)
        for name in ("config", "defaults"):
            if name in content:
                content[name] = {key: value for key, value in content[name].items() if key not in KEY_PROPERTIES}
        return status, headers, json.dumps(content).encode()

    return answer


def install() -> None:
    """Serve the documented operations, authorise files of tables, and hand out no credentials."""
    iam_actions.extract_iam_action = data_actions(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = data_resources(iam_actions.extract_resource_arn)
    s3tables._iceberg_config = without_keys(s3tables._iceberg_config)
    s3tables._iceberg_load_table = without_keys(s3tables._iceberg_load_table)
    s3tables._iceberg_route = documented_routes(s3tables._iceberg_route)
    s3tables._handle_iceberg_request = as_documented(s3tables._handle_iceberg_request)
