"""S3 tells a function of what Bedrock writes, and of nothing else below the prefix.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import eventually, make_function, unique

PRINTING = 'import json\ndef handler(event, context): print("EVENT " + json.dumps(event))'


def test_two_suffixes_below_one_prefix_each_fire_once(local_aws: LocalAws) -> None:
    s3, bucket, name = local_aws.client("s3"), unique("bucket"), make_function(local_aws, PRINTING)
    s3.create_bucket(Bucket=bucket)
    functions = local_aws.client("lambda")
    arn = functions.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    functions.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount=local_aws.account_id,
    )

    def rule(suffix: str) -> dict[str, Any]:
        filters = [{"Name": "prefix", "Value": "bedrock-batches/output/"}, {"Name": "suffix", "Value": suffix}]
        return {
            "LambdaFunctionArn": arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": filters}},
        }

    def configure(*suffixes: str) -> None:
        s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={"LambdaFunctionConfigurations": [rule(suffix) for suffix in suffixes]},
        )

    with pytest.raises(ClientError, match="InvalidArgument"):
        configure(".jsonl.out", ".out")
    configure(".jsonl.out", ".jsonl")
    folder = "bedrock-batches/output/batch-1/abc123def456"
    for key in (
        f"{folder}/input-0001.jsonl.out",
        f"{folder}/manifest.json.out",
        "bedrock-batches/output/batch-0/output.jsonl",
        "bedrock-batches/input/batch-1/input-0001.jsonl",
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}\n")
    upload = s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}/input-0002.jsonl.out")
    at = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    part = s3.upload_part(**at, PartNumber=1, Body=b"{}\n")
    s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})

    logs = local_aws.client("logs")

    def objects() -> list[dict[str, Any]]:
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:  # The first call makes the group.
            return []
        lines = [event["message"][6:] for event in events if event["message"].startswith("EVENT ")]
        return [json.loads(line)["Records"][0]["s3"]["object"] for line in lines]

    assert eventually(lambda: len(objects()) == 3)
    time.sleep(0.3)
    assert sorted(unquote_plus(found["key"]) for found in objects()) == [
        "bedrock-batches/output/batch-0/output.jsonl",
        f"{folder}/input-0001.jsonl.out",
        f"{folder}/input-0002.jsonl.out",
    ]
    assert all(found["eTag"] and found["size"] == 3 and found["sequencer"] for found in objects())
