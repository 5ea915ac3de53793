"""The tables of row batches, made as Terraform makes them."""

from __future__ import annotations

from typing import Any

from row_batches.rows.dynamodb import FAILED_ROWS
from row_batches.run.runs_dynamodb import RUNNING_BY_START, RUNS_BY_START
from tests.support.aws_resources import unique
from tests.support.terraform_files import ROW_BATCHES, parsed, plain


def make_runs_table(client: Any) -> str:
    """The table of runs with the keys and indexes that Terraform gives it."""
    return _make_table(client, "runs", {RUNS_BY_START, RUNNING_BY_START})


def make_results_table(client: Any) -> str:
    """The table of rows with the keys and the index that Terraform gives it."""
    return _make_table(client, "results", {FAILED_ROWS})


def make_answers_table(client: Any) -> str:
    """The table of answers with the key that Terraform gives it."""
    return _make_table(client, "answers", set())


def _make_table(client: Any, name: str, index_names: set[str]) -> str:
    resources = parsed(ROW_BATCHES / "storage.tf")["resource"]
    tables: list[dict[str, Any]] = [
        plain(block["aws_dynamodb_table"]) for block in resources if "aws_dynamodb_table" in block
    ]
    table = next(table[name] for table in tables if name in table)

    def keys(part: dict[str, Any]) -> list[dict[str, str]]:
        kinds = {"HASH": part["hash_key"], "RANGE": part.get("range_key")}
        return [{"AttributeName": plain(name), "KeyType": kind} for kind, name in kinds.items() if name]

    indexes = [
        {
            "IndexName": plain(index["name"]),
            "KeySchema": keys(index),
            "Projection": {"ProjectionType": plain(index["projection_type"])},
        }
        for index in table.get("global_secondary_index", [])
    ]
    named = {key["AttributeName"] for part in (keys(table), *(index["KeySchema"] for index in indexes)) for key in part}
    made = unique(name)
    client.create_table(
        TableName=made,
        KeySchema=keys(table),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in sorted(named)],
        BillingMode="PAY_PER_REQUEST",
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )
    assert {index["IndexName"] for index in indexes} == index_names
    return made
