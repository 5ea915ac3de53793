"""Finds the resources of a deployment that cannot be destroyed yet.

Terraform notices them only after it has destroyed what depends on them: functions, policies, encryption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

BUCKETS = ("input_bucket", "results_bucket", "data_bucket")
TABLES = ("registry_table", "results_table", "runs_table", "bedrock_jobs_table", "violations_table")
LAKE = "lake_table_bucket_arn"
ARTIFACTS_PREFIX = "artifacts/"
"""Objects under this prefix belong to Terraform, which deletes them."""
ABSENT = ("NoSuchBucket", "ResourceNotFoundException", "NotFoundException")
"""Codes for a resource that an earlier, incomplete attempt has destroyed."""


def kept(outputs: dict[str, Any], client: Callable[[str], Any], emptied: bool) -> list[str]:
    """The resources that cannot be destroyed yet, each with a fix. ``emptied``: Terraform empties its buckets."""
    checks = [(TABLES, _protected_table), ((LAKE,), _tables_of_lake)]
    if not emptied:
        checks = [(BUCKETS, _filled_bucket), *checks]
    found: list[str] = []
    for names, check in checks:
        for name in names:
            if outputs.get(name) is None:  # there are no Bedrock batches
                continue
            try:
                found += check(client, outputs[name])
            except ClientError as error:
                if error.response["Error"]["Code"] not in ABSENT:
                    raise
    return found


def _filled_bucket(client: Callable[[str], Any], bucket: str) -> Iterator[str]:
    for page in client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if any(not entry["Key"].startswith(ARTIFACTS_PREFIX) for entry in entries):
            yield f"bucket {bucket} holds objects: empty it"
            return


def _protected_table(client: Callable[[str], Any], table: str) -> Iterator[str]:
    if client("dynamodb").describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled"):
        yield f"table {table} has deletion protection: turn it off"


def _tables_of_lake(client: Callable[[str], Any], lake: str) -> Iterator[str]:
    for page in client("s3tables").get_paginator("list_tables").paginate(tableBucketARN=lake):
        for table in page["tables"]:
            yield f"table {'.'.join([*table['namespace'], table['name']])} of the lake {lake}: delete it"
