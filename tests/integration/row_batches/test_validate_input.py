"""The function ``validate_input`` on moto: the answer, and what it leaves in S3."""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from foundation import settings
from foundation.aws import clients
from foundation.errors import DeploymentError, InvalidInputError, ObjectChangedError, ObjectNotFoundError
from row_batches.document.batch_config import Rate
from row_batches.document.plan import Plan
from row_batches.document.s3_location import S3Location
from row_batches.files.s3 import PART_BYTES, S3InputObjects, S3WorkObjects
from row_batches.files.staged_copy import read_staged
from row_batches.run import wiring, wiring_input
from tests.support.moto_aws import moto_aws
from tests.support.row_batch_tables import make_runs_table

HANDLER = Path(__file__).parents[3] / "functions/validate_input/handler.py"
CONTEXT = SimpleNamespace(
    function_name="validate-input", aws_request_id="request", get_remaining_time_in_millis=lambda: 900_000
)


class Aws:
    """An account with the two buckets, the registry and one function as a target."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3")
        for bucket in ("uploads", "results"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.dynamodb = boto3.client("dynamodb")
        self.dynamodb.create_table(
            TableName="registry",
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.echo_arn = self._function()
        self.register(name="echo", type="tool", arn=self.echo_arn, invocation="lambda", cost_per_call_usd=0.001)

    def _function(self) -> str:
        role = boto3.client("iam").create_role(RoleName="echo", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("index.py", "")
        arn: str = boto3.client("lambda").create_function(
            FunctionName="echo",
            Runtime="python3.13",
            Role=role,
            Handler="index.handler",
            Timeout=600,
            Code={"ZipFile": code.getvalue()},
        )["FunctionArn"]
        return arn

    def register(self, **target: Any) -> None:
        item = {name: {"N": str(value)} if isinstance(value, float) else {"S": value} for name, value in target.items()}
        self.dynamodb.put_item(TableName="registry", Item={**item, "enabled": {"BOOL": True}})

    def uploads_left(self) -> list[Any]:
        return list(self.s3.list_multipart_uploads(Bucket="results").get("Uploads", []))

    def read(self, key: str, version_id: str | None = None) -> bytes:
        if version_id is None:
            return self.s3.get_object(Bucket="results", Key=key)["Body"].read()
        return self.s3.get_object(Bucket="results", Key=key, VersionId=version_id)["Body"].read()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    variables = {
        "RESULTS_BUCKET": "results",
        "INPUT_BUCKETS": '["uploads"]',
        "OUTPUT_BUCKETS": '["theirs", "gone"]',
        "REGISTRY_TABLE": "registry",
        "WORK_RETENTION_DAYS": "7",
        "POWERTOOLS_SERVICE_NAME": "validate_input",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _forget()
    with moto_aws("eu-west-1"):
        made = Aws()
        monkeypatch.setenv("RUNS_TABLE", make_runs_table(made.dynamodb))
        yield made
    _forget()


def _forget() -> None:
    for cached in (clients._session, clients._service_client):
        cached.cache_clear()
    for factory in (wiring_input.inputs, wiring_input.work, wiring_input.targets):
        factory.cache_clear()
    for factory_of_target in (wiring_input.functions, wiring_input.machines, wiring_input.executions):
        factory_of_target.cache_clear()
    for factory_of_run in (wiring.runs, wiring.outputs):
        factory_of_run.cache_clear()
    settings._loaded.clear()


def invoke(document: dict[str, Any]) -> dict[str, Any]:
    """Call the handler as Lambda does: JSON in, JSON out."""
    spec = importlib.util.spec_from_file_location("validate_input_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    event = {
        "execution": {
            "arn": "arn:aws:states:eu-west-1:123456789012:execution:batch-processor:run-1",
            "name": "run-1",
            "started_at": "2026-01-02T03:04:05.678Z",
        },
        "input": document,
    }
    answer: dict[str, Any] = json.loads(json.dumps(module.handler(event, CONTEXT)))
    return answer


DOCUMENT = {"csv_s3_uri": "s3://uploads/data.csv", "target": {"type": "tool", "name": "echo"}}


def test_stages_a_file_and_writes_the_plan(aws: Aws) -> None:
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body='\ufeffid;text\r\n1;"a;\r\n\\b"\r\n2;😀\r\n'.encode())

    answer = invoke(DOCUMENT)

    plan = Plan.model_validate_json(aws.read("work/run-1/plan.json"))
    staged = aws.read("work/run-1/input.csv", answer["staged"]["version_id"])
    assert answer == {
        "done": True,
        "execution_id": "run-1",
        "plan_key": "work/run-1/plan.json",
        "processor": "TOOL",
        "dry_run": False,
        "total_rows": 2,
        "staged": {"bucket": "results", "key": "work/run-1/input.csv", "version_id": plan.staged.version_id},
        "map": {"max_concurrency": 1, "batch_size": 2},
        "map_prefix": "work/run-1/map",
        "inline": False,
        "children": [],
        "document": None,
        "trial": False,
        "approval_seconds": 0,
    }
    assert staged == 'r,c1,c2\n"1","1","a;\\\\r\n\\\\\\\\b"\n"2","2","😀"\n'.encode()
    assert plan.columns == ["id", "text"]
    assert plan.target.arn == aws.echo_arn
    assert plan.target.cost_per_call_usd == 0.001
    assert plan.estimate.parts["target"].best == 0.002
    assert any("600 s" in warning for warning in plan.warnings)


def test_the_staged_version_stays_what_it_was_when_the_user_s_file_changes(aws: Aws) -> None:
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n1\n")
    first = invoke(DOCUMENT)
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n2\n")
    second = invoke(DOCUMENT)

    key = first["staged"]["key"]
    assert b'"1","1"' in aws.read(key, first["staged"]["version_id"])
    assert b'"1","2"' in aws.read(key, second["staged"]["version_id"])


def test_a_large_file_is_uploaded_in_parts(aws: Aws) -> None:
    rows = [[str(i), "text of the row " * 8] for i in range(1, 130_000)]
    aws.s3.put_object(
        Bucket="uploads", Key="data.csv", Body=b"id,text\n" + b"".join(f"{a},{b}\n".encode() for a, b in rows)
    )

    answer = invoke(DOCUMENT)

    staged = aws.read("work/run-1/input.csv", answer["staged"]["version_id"])
    assert len(staged) > 2 * PART_BYTES
    assert [cells for _, cells in read_staged([staged])] == rows
    assert aws.uploads_left() == []


def test_a_mistake_far_into_a_large_file_leaves_nothing_behind(aws: Aws) -> None:
    aws.s3.put_object(
        Bucket="uploads", Key="data.csv", Body=b"id,text\n" + b"1,some text of the row\n" * 700_000 + b"1\n"
    )

    with pytest.raises(InvalidInputError, match="line 700002"):
        invoke(DOCUMENT)

    assert aws.s3.list_object_versions(Bucket="results").get("Versions", []) == []
    assert aws.uploads_left() == []


def test_a_missing_object_an_unknown_target_and_a_forbidden_bucket_are_input_errors(aws: Aws) -> None:
    for document, said in (
        ({**DOCUMENT, "csv_s3_uri": "s3://uploads/Data.csv"}, "csv_s3_uri: the object does not exist"),
        ({**DOCUMENT, "csv_s3_uri": "s3://other/data.csv"}, "input_buckets"),
        ({**DOCUMENT, "target": {"type": "tool", "name": "ecco"}}, "did you mean echo"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            invoke(document)


def test_a_destination_is_tried_before_anything_is_planned(aws: Aws) -> None:
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n1\n")
    aws.s3.create_bucket(Bucket="theirs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    answer = invoke({**DOCUMENT, "output_s3_uri": "s3://theirs/out/"})
    with pytest.raises(InvalidInputError, match="output_s3_uri: the bucket does not exist"):
        invoke({**DOCUMENT, "output_s3_uri": "s3://gone/out/"})

    plan = Plan.model_validate_json(aws.read(answer["plan_key"]))
    assert plan.config.destination("run-1") == S3Location("theirs", "out/run-1/")
    assert aws.s3.list_multipart_uploads(Bucket="theirs").get("Uploads", []) == []


def test_the_limits_of_the_target_are_read_from_the_registry(aws: Aws) -> None:
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n1\n")
    aws.dynamodb.update_item(
        TableName="registry",
        Key={"name": {"S": "echo"}},
        UpdateExpression="SET max_concurrency = :most, rate = :rate",
        ExpressionAttributeValues={":most": {"N": "5"}, ":rate": {"M": {"rows_per_minute": {"N": "120.5"}}}},
    )

    answer = invoke(DOCUMENT)

    plan = Plan.model_validate_json(aws.read(answer["plan_key"]))
    assert (plan.target.max_concurrency, plan.target.rate) == (5, Rate(rows_per_minute=120.5))
    assert plan.call_seconds == 600, "the function's own time-out"


def test_a_registry_that_is_gone_is_the_deployment_s_fault(aws: Aws) -> None:
    aws.dynamodb.delete_table(TableName="registry")

    with pytest.raises(DeploymentError, match="dynamodb:GetItem on registry"):
        invoke(DOCUMENT)


def test_a_registry_item_that_makes_no_sense_is_the_deployment_s_fault(aws: Aws) -> None:
    aws.register(name="odd", type="tool", arn="arn", invocation="carrier pigeon")

    with pytest.raises(DeploymentError, match="odd"):
        invoke({**DOCUMENT, "target": {"type": "tool", "name": "odd"}})


def test_one_wrong_registry_item_hides_no_other_target_and_is_named_in_the_log(
    aws: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    aws.register(name="odd", type="tool", arn="arn", invocation="carrier pigeon")
    aws.register(name="wrong", type="vehicle", arn="arn", invocation="lambda")

    listed = wiring_input.targets("registry").all()

    assert [target.name for target in listed] == ["echo"]
    assert sorted(record.getMessage().split(" ")[5] for record in caplog.records) == ["odd", "wrong"]


def test_attributes_of_a_newer_release_are_ignored_in_a_registry_item(aws: Aws) -> None:
    field = {"M": {"required": {"BOOL": False}, "newer": {"S": "x"}}}
    item: dict[str, Any] = {"name": {"S": "echo"}, "newer": {"SS": ["x"]}, "input": {"M": {"text": field}}}
    known = {"type": {"S": "tool"}, "arn": {"S": aws.echo_arn}, "invocation": {"S": "lambda"}}
    aws.dynamodb.put_item(TableName="registry", Item=item | known)
    targets = wiring_input.targets("registry")

    target = targets.get("echo")

    assert target is not None
    assert not target.input["text"].required
    assert targets.all() == [target]


def test_an_object_that_changes_while_it_is_read_is_noticed(aws: Aws) -> None:
    inputs = S3InputObjects(aws.s3)
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n1\n")
    found = inputs.head(S3Location("uploads", "data.csv"))
    aws.s3.put_object(Bucket="uploads", Key="data.csv", Body=b"a\n2\n")

    with pytest.raises(ObjectChangedError):
        list(inputs.stream(found))
    with pytest.raises(ObjectNotFoundError):
        inputs.head(S3Location("uploads", "nothing.csv"))


def test_an_upload_that_fails_is_aborted(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "UploadPart")

    monkeypatch.setattr(aws.s3, "upload_part", fail)

    with pytest.raises(DeploymentError, match="s3:PutObject on s3://results/key was denied"):
        S3WorkObjects(aws.s3, "results").upload("key", [b"x" * PART_BYTES, b"y"])
    assert aws.uploads_left() == []
