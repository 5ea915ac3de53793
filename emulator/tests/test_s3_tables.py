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

from emulator.testing import LocalAws
from emulator.tests.resources import allow, make_role, unique

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
EVERYTHING = ["s3tables:*"]
SCHEMA = {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "type": "string", "required": False}]}


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
                return answered.status, parsed(answered.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, parsed(error.read())

    @property
    def prefix(self) -> str:
        return quote(self.arn, safe="")

    @property
    def table(self) -> str:
        return f"{self.prefix}/namespaces/silver/tables/osha"


def parsed(body: bytes) -> Any:
    """The JSON of an answer, or its text where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "{prefix}/transactions/commit"),
        ("POST", "{prefix}/namespaces/silver/properties"),
        ("POST", "{prefix}/namespaces/silver/register"),
        ("GET", "{prefix}/namespaces/silver/views"),
        ("POST", "{prefix}/namespaces/silver/views"),
        ("POST", "{prefix}/namespaces/silver/tables/osha/metrics"),
        ("GET", "{prefix}/namespaces/silver/tables/osha/credentials"),
        ("POST", "{prefix}/namespaces/silver/tables/osha/plan"),
        ("PUT", "{prefix}/namespaces/silver/tables/osha"),
        ("GET", "namespaces"),
    ],
)
def test_a_route_that_s3_tables_does_not_document_is_not_found(lake: Lake, method: str, path: str) -> None:
    """Supported Iceberg REST API operations: a commit of several tables is none of them"""
    body: Any = {"table-changes": []} if method != "GET" else None

    status, _answer = lake.catalog(lake.role(EVERYTHING), method, path.format(prefix=lake.prefix), body)

    assert status == 404


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("namespaces", {"namespace": ["a", "b"]}, "Multilevel namespaces"),
        ("namespaces", {"namespace": ["a"], "properties": {"colour": "red"}}, "property is not supported: colour"),
        ("namespaces/silver%1Fgold/tables", {"name": "t", "schema": SCHEMA}, "Multilevel namespaces"),
        ("namespaces/silver/tables", {"name": "t", "schema": SCHEMA, "stage-create": True}, "stage-create"),
        ("namespaces/silver/tables", {"name": "t", "schema": SCHEMA, "location": "s3://mine/t"}, "location"),
        (
            "namespaces/silver/tables/osha",
            {"updates": [{"action": "set-location", "location": "s3://mine/t"}]},
            "location",
        ),
        ("namespaces/silver/tables/osha", {"updates": [{"action": "remove-snapshots", "snapshot-ids": [1]}]}, "update"),
        ("namespaces/silver/tables/osha", {"requirements": [{"type": "assert-nothing"}]}, "requirement"),
    ],
)
def test_what_the_catalog_does_not_support_is_a_bad_request(
    lake: Lake, path: str, body: dict[str, Any], said: str
) -> None:
    """Considerations and limitations of the endpoint"""
    status, answer = lake.catalog(lake.role(EVERYTHING), "POST", f"{lake.prefix}/{path}", body)

    assert status == 400
    assert said in answer["error"]["message"]


def test_a_table_with_metadata_over_50_mb_is_refused(lake: Lake) -> None:
    """Limitations: a metadata.json file over 50 MB gives 400"""
    role, path = lake.role(EVERYTHING), f"{lake.prefix}/namespaces/silver/tables/large"
    lake.catalog(role, "POST", f"{lake.prefix}/namespaces/silver/tables", {"name": "large", "schema": SCHEMA})
    text = {"updates": [{"action": "set-properties", "updates": {"note": "x" * (50 * 1024 * 1024)}}]}

    assert lake.catalog(role, "POST", path, text)[0] == 200
    assert lake.catalog(role, "GET", path)[0] == 400
    assert lake.catalog(role, "DELETE", f"{path}?purgeRequested=true")[0] == 204


def test_the_warehouse_is_the_arn_of_a_table_bucket(lake: Lake) -> None:
    """Configuring the endpoint: the form account:s3tablescatalog/bucket is Glue's"""
    warehouse = quote(f"{lake.aws.account_id}:s3tablescatalog/{lake.bucket}", safe="")

    assert lake.catalog(lake.role(EVERYTHING), "GET", f"config?warehouse={warehouse}")[0] == 400


def test_tables_and_namespaces_are_looked_for_renamed_and_dropped(lake: Lake) -> None:
    """Supported operations: tableExists, namespaceExists, renameTable, dropTable with purge alone, dropNamespace"""
    role, prefix = lake.role(EVERYTHING), lake.prefix
    bronze, moved = f"{prefix}/namespaces/bronze", f"{prefix}/namespaces/bronze/tables/moved"
    names = [{"namespace": ["bronze"], "name": name} for name in ("made", "moved")]
    lake.catalog(role, "POST", f"{prefix}/namespaces", {"namespace": ["bronze"], "properties": {"owner": "me"}})
    lake.catalog(role, "POST", f"{bronze}/tables", {"name": "made", "schema": SCHEMA})

    assert lake.catalog(role, "HEAD", bronze)[0] == 204
    rename = {"source": names[0], "destination": names[1]}
    assert lake.catalog(role, "POST", f"{prefix}/tables/rename", rename)[0] == 204
    assert [lake.catalog(role, "HEAD", f"{bronze}/tables/{name}")[0] for name in ("made", "moved")] == [404, 204]
    assert lake.catalog(role, "DELETE", bronze)[0] == 409
    assert [lake.catalog(role, "DELETE", f"{moved}{asked}")[0] for asked in ("", "?purgeRequested=false")] == [400, 400]
    assert lake.catalog(role, "DELETE", f"{moved}?purgeRequested=true")[0] == 204
    assert lake.catalog(role, "DELETE", bronze)[0] == 204
    assert lake.catalog(role, "HEAD", bronze)[0] == 404


def test_a_dropped_table_leaves_no_file_behind(lake: Lake) -> None:
    """dropTable purges: a table made again under the name begins empty"""
    role, path = lake.role(EVERYTHING), f"{lake.prefix}/namespaces/silver/tables/again"
    make = {"name": "again", "schema": SCHEMA}
    lake.catalog(role, "POST", f"{lake.prefix}/namespaces/silver/tables", make)
    lake.catalog(role, "POST", path, {"updates": [{"action": "set-properties", "updates": {"note": "old"}}]})

    lake.catalog(role, "DELETE", f"{path}?purgeRequested=true")
    lake.catalog(role, "POST", f"{lake.prefix}/namespaces/silver/tables", make)

    assert "note" not in lake.catalog(role, "GET", path)[1]["metadata"]["properties"]
