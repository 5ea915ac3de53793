"""Files of S3 Tables are read and written with the caller's own credentials, as S3 Tables authorises them.

MiniStack hands the root's keys to every client that loads a table. AWS hands out none: the client signs its S3 requests
itself, and they are authorised as s3tables:GetTableData and s3tables:PutTableData on the table.

* https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-setting-up.html
* https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions
from ministack.services import s3tables

KEY_PROPERTIES = frozenset({"s3.access-key-id", "s3.secret-access-key"})
READ, WRITE = "s3tables:GetTableData", "s3tables:PutTableData"

Answer = tuple[int, dict[str, str], bytes]


def table_of(path: str) -> str | None:
    """The ARN of the table whose file the S3 path names; of all tables of the bucket, where it names none."""
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
    """Authorise files of tables, and hand out no credentials."""
    iam_actions.extract_iam_action = data_actions(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = data_resources(iam_actions.extract_resource_arn)
    s3tables._iceberg_config = without_keys(s3tables._iceberg_config)
    s3tables._iceberg_load_table = without_keys(s3tables._iceberg_load_table)
