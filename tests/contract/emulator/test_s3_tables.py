"""Table buckets: the catalog and the files of a table, with a role's own credentials.

* https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-integrating-open-source.html
* Catalog: https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.support.aws_resources import allow, make_role, unique
from tests.support.local_aws import LocalAws

READING = [
    "s3tables:GetTableBucket",
    "s3tables:GetNamespace",
    "s3tables:ListNamespaces",
    "s3tables:GetTable",
    "s3tables:ListTables",
    "s3tables:GetTableMetadataLocation",
    "s3tables:GetTableData",
]
WRITING = [*READING, "s3tables:PutTableData", "s3tables:UpdateTableMetadataLocation"]


class Lake:
    """A table bucket with the table `silver.osha`."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws, self.bucket, client = aws, unique("lake"), aws.client("s3tables")
        self.arn: str = client.create_table_bucket(name=self.bucket)["arn"]
        client.create_namespace(tableBucketARN=self.arn, namespace=["silver"])
        fields = [{"name": "violation_id", "type": "string", "required": True}, {"name": "fine", "type": "double"}]
        client.create_table(
            tableBucketARN=self.arn,
            namespace="silver",
            name="osha",
            format="ICEBERG",
            metadata={"iceberg": {"schema": {"fields": fields}}},
        )

    def role(self, actions: list[str]) -> str:
        return make_role(self.aws, allow(actions, [self.arn, f"{self.arn}/*"]))

    def catalog(self, role: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A signed request to the table's catalog."""
        session = self.aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.aws.endpoint_url}/iceberg/v1/{path}"
        request = AWSRequest(method, url, data=data, headers={"content-type": "application/json"})
        credentials = Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
        SigV4Auth(credentials, "s3tables", "us-east-1").add_auth(request)
        prepared = urllib.request.Request(url, data=data, headers=dict(request.headers), method=method)
        try:
            with urllib.request.urlopen(prepared, timeout=30) as answered:
                return answered.status, json.load(answered)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    @property
    def table(self) -> str:
        return f"{quote(self.arn, safe='')}/namespaces/silver/tables/osha"


@pytest.fixture(scope="module")
def lake(local_aws: LocalAws) -> Lake:
    return Lake(local_aws)


def test_the_catalog_hands_out_no_credentials(lake: Lake) -> None:
    role = lake.role(READING)
    _status, loaded = lake.catalog(role, "GET", lake.table)
    _status, config = lake.catalog(role, "GET", f"config?warehouse={quote(lake.arn, safe='')}")
    assert loaded["metadata"]["schemas"][0]["fields"][0]["name"] == "violation_id"
    assert not [key for key in {**loaded["config"], **config["defaults"]} if "key" in key]


def test_files_of_a_table_need_the_table_s_own_permissions(lake: Lake) -> None:
    key, bucket = "silver/osha/data/file.parquet", lake.bucket
    writer = lake.aws.client_as(lake.role(WRITING), "s3")
    reader = lake.aws.client_as(lake.role(READING), "s3")
    stranger = lake.aws.client_as(make_role(lake.aws, allow("s3:*")), "s3")
    lake.aws.client("s3").create_bucket(Bucket=bucket)
    writer.put_object(Bucket=bucket, Key=key, Body=b"rows")
    assert reader.get_object(Bucket=bucket, Key=key)["Body"].read() == b"rows"
    table = f"{lake.arn}/table/"
    with pytest.raises(ClientError, match=rf"s3tables:PutTableData on resource: .{table}"):
        reader.put_object(Bucket=bucket, Key=key, Body=b"other")
    with pytest.raises(ClientError, match="s3tables:GetTableData"):
        stranger.get_object(Bucket=bucket, Key=key)


def test_of_two_commits_on_the_same_snapshot_the_second_is_a_conflict(lake: Lake) -> None:
    """`Requirement failed: branch main has changed`, which a writer answers by reading again."""
    role = lake.role(WRITING)

    def commit(snapshot: int) -> int:
        added = {
            "snapshot-id": snapshot,
            "sequence-number": 1,
            "timestamp-ms": 1_700_000_000_000,
            "manifest-list": f"s3://{lake.bucket}/silver/osha/metadata/{snapshot}.avro",
            "summary": {"operation": "append"},
            "schema-id": 0,
        }
        pointed = {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": snapshot}
        body = {
            "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": None}],
            "updates": [{"action": "add-snapshot", "snapshot": added}, pointed],
        }
        return lake.catalog(role, "POST", lake.table, body)[0]

    assert [commit(11), commit(12)] == [200, 409]
    assert lake.catalog(lake.role(READING), "POST", lake.table, {"requirements": [], "updates": []})[0] == 403
