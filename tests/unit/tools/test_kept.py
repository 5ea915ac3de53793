"""What refuses to be destroyed is found before anything is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.client.fakes import refusal
from tools.kept import kept

LAKE = "arn:aws:s3tables:us-east-1:123456789012:bucket/lake"
OUTPUTS = {
    "input_bucket": "inputs",
    "results_bucket": "results",
    "data_bucket": "data",
    "registry_table": "registry",
    "results_table": "rows",
    "runs_table": "runs",
    "bedrock_jobs_table": "jobs",
    "violations_table": "violations",
    "lake_table_bucket_arn": LAKE,
}
FILLED = {"Versions": [{"Key": "uploads/rows.csv"}]}


@dataclass
class FakeAws:
    """S3, DynamoDB and S3 Tables: pages of versions by bucket, protected tables, the lake's tables."""

    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    lake: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    refused: str = ""
    _operation: str = ""

    def client(self, _service: str) -> FakeAws:
        return self

    def get_paginator(self, operation: str) -> FakeAws:
        self._operation = operation
        return self

    def paginate(self, **request: str) -> list[dict[str, Any]]:
        if self._operation == "list_tables":
            assert request == {"tableBucketARN": LAKE}
            return [{"tables": [{"namespace": ["silver"], "name": name}]} for name in self.lake]
        if request["Bucket"] in self.absent:
            raise refusal("NoSuchBucket", "ListObjectVersions")
        if self.refused:
            raise refusal(self.refused, "ListObjectVersions")
        return self.versions.get(request["Bucket"], [{}])

    def describe_table(self, TableName: str) -> dict[str, Any]:  # noqa: N803
        if TableName in self.absent:
            raise refusal("ResourceNotFoundException", "DescribeTable")
        return {"Table": {"DeletionProtectionEnabled": TableName in self.protected}}


def test_buckets_with_objects_protected_tables_and_the_lakes_tables_are_named() -> None:
    aws = FakeAws({"inputs": [{}, FILLED]}, protected=("registry", "violations"), lake=("osha",))
    assert kept(OUTPUTS, aws.client, emptied=False) == [
        "bucket inputs holds objects: empty it",
        "table registry has deletion protection: turn it off",
        "table violations has deletion protection: turn it off",
        f"table silver.osha of the lake {LAKE}: delete it",
    ]


def test_a_bucket_of_deleted_objects_is_not_empty() -> None:
    aws = FakeAws({"data": [{"DeleteMarkers": [{"Key": "bedrock-batches/x"}]}]})
    assert kept(OUTPUTS, aws.client, emptied=False) == ["bucket data holds objects: empty it"]


def test_artefacts_go_with_their_bucket() -> None:
    aws = FakeAws({"results": [{"Versions": [{"Key": "artifacts/layers/core/ab12.zip"}]}]})
    assert kept(OUTPUTS, aws.client, emptied=False) == []


def test_buckets_that_terraform_empties_do_not_refuse() -> None:
    assert kept(OUTPUTS, FakeAws({"inputs": [FILLED]}).client, emptied=True) == []


def test_what_an_earlier_attempt_destroyed_is_passed_over() -> None:
    aws = FakeAws({"data": [FILLED]}, protected=("jobs",), absent=("inputs", "registry"))
    assert len(kept(OUTPUTS, aws.client, emptied=False)) == 2


def test_without_bedrock_batches_and_without_a_deployment_nothing_of_them_is_asked() -> None:
    assert kept({"registry_table": "registry", "data_bucket": None}, FakeAws().client, emptied=False) == []
    assert kept({}, FakeAws().client, emptied=False) == []


def test_a_right_that_is_missing_is_not_taken_for_an_empty_bucket() -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        kept(OUTPUTS, FakeAws(refused="AccessDenied").client, emptied=False)
