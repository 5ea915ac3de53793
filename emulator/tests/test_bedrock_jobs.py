"""Batch inference jobs of the local Bedrock run as AWS documents them.

https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws, bedrock_fault, bedrock_settings, control
from emulator.tests.resources import allow, eventually, make_role, unique
from emulator.tests.test_bedrock_structured_output import HAIKU, SCHEMA, output_config

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
ENDED = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")
PROMPT = """Answer with JSON {title, description, tags}.
Company name: Mining Co.
Violation type: Serious
City: Reno
Number: """


@pytest.fixture(autouse=True)
def quick_stages(local_aws: LocalAws) -> Iterator[None]:
    with bedrock_settings(local_aws.endpoint_url, stage_seconds=0.05):
        yield


def converse_body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 500}}


def records(count: int) -> list[dict[str, Any]]:
    return [
        {"recordId": f"OSHA-{number:06d}", "modelInput": converse_body(f"{PROMPT}{number}")} for number in range(count)
    ]


class Batch:
    """A bucket, a job role that may use it, and jobs over it."""

    def __init__(self, aws: LocalAws, bedrock: Any, s3: Any) -> None:
        self.aws, self.bucket = aws, unique("bucket")
        self.bedrock, self.s3 = bedrock, s3
        self.s3.create_bucket(Bucket=self.bucket)
        self.role = self.make_role("s3:GetObject", "s3:ListBucket", "s3:PutObject")

    def make_role(self, *actions: str, service: str = "bedrock.amazonaws.com") -> str:
        resources = [f"arn:aws:s3:::{self.bucket}", f"arn:aws:s3:::{self.bucket}/*"]
        return make_role(self.aws, allow(list(actions), resources), trusted={"Service": service})

    def put(self, lines: list[Any], name: str = "input-0001.jsonl", folder: str = "") -> str:
        folder = folder or f"in/{unique('job')}"
        body = "".join(json.dumps(line) + "\n" for line in lines)
        self.s3.put_object(Bucket=self.bucket, Key=f"{folder}/{name}", Body=body.encode())
        return f"s3://{self.bucket}/{folder}/{name}"

    def create(self, source: str, client: Any = None, **options: Any) -> str:
        request = {
            "jobName": unique("job"),
            "roleArn": self.role,
            "modelId": MODEL,
            "modelInvocationType": "Converse",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": source}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{self.bucket}/out/"}},
            **options,
        }
        arn: str = (client or self.bedrock).create_model_invocation_job(**request)["jobArn"]
        return arn

    def describe(self, arn: str) -> dict[str, Any]:
        described: dict[str, Any] = self.bedrock.get_model_invocation_job(jobIdentifier=arn)
        return described

    def ended(self, arn: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.describe(arn)
            return found if found["status"] in ENDED else None

        found = eventually(look)
        assert found is not None, self.describe(arn)
        return found

    def keys(self, arn: str) -> list[str]:
        folder = f"out/{arn.rpartition('/')[2]}/"
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=folder).get("Contents", [])
        return [found["Key"].removeprefix(folder) for found in listed]

    def output(self, arn: str, name: str = "input-0001.jsonl.out") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text(arn, name).splitlines()]

    def manifest(self, arn: str) -> dict[str, int]:
        manifest: dict[str, int] = json.loads(self.text(arn, "manifest.json.out"))
        return manifest

    def text(self, arn: str, name: str) -> str:
        key = f"out/{arn.rpartition('/')[2]}/{name}"
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body.decode()

    def run(self, lines: list[Any], **options: Any) -> tuple[str, dict[str, Any]]:
        arn = self.create(self.put(lines), **options)
        return arn, self.ended(arn)


@pytest.fixture(scope="module")
def batch(local_aws: LocalAws) -> Batch:
    return Batch(local_aws, local_aws.client("bedrock"), local_aws.client("s3"))


@pytest.fixture
def own_batch(batch: Batch) -> Batch:
    """For tests that change the bucket or the role."""
    return Batch(batch.aws, batch.bedrock, batch.s3)


def test_a_job_answers_every_record_in_another_order_and_counts_tokens_in_its_manifest(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html"""
    sent = records(150)
    arn, job = batch.run(sent)
    assert job["status"] == "Completed"
    assert [job[f"{kind}RecordCount"] for kind in ("total", "processed", "success", "error")] == [150, 150, 150, 0]
    assert batch.keys(arn) == ["input-0001.jsonl.out", "manifest.json.out"]
    got = batch.output(arn)
    assert sorted(line["recordId"] for line in got) == [line["recordId"] for line in sent]
    assert [line["recordId"] for line in got] != [line["recordId"] for line in sent]
    by_id = {line["recordId"]: line for line in got}
    assert all(by_id[line["recordId"]]["modelInput"] == line["modelInput"] for line in sent)
    assert set(got[0]) == {"recordId", "modelInput", "modelOutput"}
    usage = [line["modelOutput"]["usage"] for line in got]
    assert batch.manifest(arn) == {
        "totalRecordCount": 150,
        "processedRecordCount": 150,
        "successRecordCount": 150,
        "errorRecordCount": 0,
        "inputTokenCount": sum(one["inputTokens"] for one in usage),
        "outputTokenCount": sum(one["outputTokens"] for one in usage),
    }
    described = {name: job[name] for name in ("modelId", "modelInvocationType", "roleArn")}
    assert described == {
        "modelId": f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
        "modelInvocationType": "Converse",
        "roleArn": batch.role,
    }
    assert job["submitTime"] < job["endTime"] < job["jobExpirationTime"]


def test_answers_are_plain_fenced_or_prefixed_json_made_of_the_prompt_and_repeat(batch: Batch) -> None:
    first, _job = batch.run(records(120))
    second, _job = batch.run(records(120))
    texts = {
        line["recordId"]: line["modelOutput"]["output"]["message"]["content"][0]["text"] for line in batch.output(first)
    }
    assert texts == {
        line["recordId"]: line["modelOutput"]["output"]["message"]["content"][0]["text"]
        for line in batch.output(second)
    }
    starts = {text[:7] for text in texts.values()}
    assert starts == {'{"title', "```json", "Here is", "Sure. H"}
    plain = json.loads(next(text for text in texts.values() if text.startswith("{")))
    assert plain["title"] == "Mining Co: Serious in Reno"
    assert set(plain) == {"title", "description", "tags"}
    assert "reno" in plain["tags"]


def test_each_change_of_status_reaches_eventbridge(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge-how-it-works.html"""
    aws, name = batch.aws, unique("rule")
    queue = aws.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue_arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    pattern = {"source": ["aws.bedrock"], "detail-type": ["Batch Inference Job State Change"]}
    rule = aws.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    statement = {
        **allow("sqs:SendMessage", queue_arn),
        "Principal": {"Service": "events.amazonaws.com"},
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    aws.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue_arn}])
    arn, job = batch.run(records(100))
    events: list[dict[str, Any]] = []

    def look() -> bool:
        received = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        events.extend(event for event in (json.loads(one["Body"]) for one in received) if event["resources"] == [arn])
        return len(events) == 5

    assert eventually(look), events
    aws.client("events").remove_targets(Rule=name, Ids=["queue"])
    statuses = {"Submitted", "Validating", "Scheduled", "InProgress", "Completed"}
    assert {event["detail"]["status"] for event in events} == statuses
    last = next(event for event in events if event["detail"]["status"] == "Completed")
    assert last["detail"] == {
        "version": "0.0",
        "accountId": aws.account_id,
        "batchJobName": job["jobName"],
        "batchJobArn": arn,
        "batchModelId": job["modelId"],
        "status": "Completed",
        "failureMessage": "",
        "creationTime": last["detail"]["creationTime"],
    }
    assert time.strptime(last["detail"]["creationTime"], "%b %d, %Y, %I:%M:%S %p")


def test_a_folder_of_files_gives_an_output_for_each(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html"""
    batch.put(records(60), "a.jsonl", "in/folder")
    batch.put(records(60), "b.jsonl", "in/folder")
    batch.put([{}], "notes.txt", "in/folder")
    arn = batch.create(f"s3://{batch.bucket}/in/folder")
    assert batch.ended(arn)["totalRecordCount"] == 120
    assert batch.keys(arn) == ["a.jsonl.out", "b.jsonl.out", "manifest.json.out"]
    assert len(batch.output(arn, "b.jsonl.out")) == 60


def test_a_batch_takes_a_schema_through_converse_though_it_takes_no_tools(batch: Batch) -> None:
    """The note on tools in https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html"""
    lines = records(100)
    for line in lines:
        line["modelInput"]["outputConfig"] = output_config(SCHEMA)
    arn, job = batch.run(lines, modelId=HAIKU)
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 0)
    texts = [line["modelOutput"]["output"]["message"]["content"][0]["text"] for line in batch.output(arn)]
    assert all(set(json.loads(text)) == {"title", "tags"} for text in texts)
    # A model that takes none refuses each record
    assert batch.run(lines)[1]["errorRecordCount"] == 100


def test_a_record_whose_body_the_model_refuses_has_an_error_in_place_of_its_output(batch: Batch) -> None:
    lines = records(100)
    lines[3]["modelInput"] = {"prompt": "not a Converse body"}
    lines[4]["modelInput"]["toolConfig"] = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}]}
    del lines[5]["recordId"]
    arn, job = batch.run(lines)
    assert (job["status"], job["successRecordCount"], job["errorRecordCount"]) == ("Completed", 98, 2)
    failed = {line["recordId"]: line for line in batch.output(arn) if "error" in line}
    assert sorted(failed) == ["OSHA-000003", "OSHA-000004"]
    assert failed["OSHA-000003"]["error"]["errorCode"] == 400
    assert set(failed["OSHA-000003"]) == {"recordId", "modelInput", "error"}
    assert all(line["recordId"] for line in batch.output(arn))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (records(99), "contains less records (99) than the required minimum of: 100"),
        ([*records(100), "text"], "/input-0001.jsonl is not a JSON object with a modelInput"),
        ([*records(100), {"recordId": 7, "modelInput": {}}], "The recordId of record 101"),
    ],
)
def test_an_input_that_does_not_validate_fails_the_job_and_says_why(
    batch: Batch, lines: list[Any], message: str
) -> None:
    arn, job = batch.run(lines)
    assert job["status"] == "Failed"
    assert message in job["message"]
    assert batch.keys(arn) == []


def test_a_job_above_the_quota_of_records_fails(batch: Batch) -> None:
    with bedrock_settings(batch.aws.endpoint_url, stage_seconds=0.01, records_per_file=110):
        _arn, job = batch.run(records(111))
    assert (job["status"], "more records (111) than the allowed maximum of: 110" in job["message"]) == ("Failed", True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobName": "with space"}, "'jobName' failed to satisfy constraint"),
        ({"clientRequestToken": "ends-"}, "'clientRequestToken' failed to satisfy constraint"),
        ({"timeoutDurationInHours": 169}, "less than or equal to 168"),
        ({"roleArn": "arn:aws:iam::000000000000:user/me"}, "'roleArn' failed to satisfy constraint"),
        ({"modelId": "no.such-model-v1:0"}, "The provided model identifier is invalid"),
        ({"modelId": "mistral.mistral-large-2402-v1:0"}, "Batch inference is not supported"),
        ({"roleArn": "arn:aws:iam::000000000000:role/no-such-role"}, "cannot assume the role"),
        (
            {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/dt=2026-01-01/"}}},
            "'outputDataConfig.s3OutputDataConfig.s3Uri' failed to satisfy constraint",
        ),
    ],
)
def test_a_request_outside_the_api_s_patterns_is_refused(batch: Batch, options: dict[str, Any], words: str) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelInvocationJob.html"""
    with pytest.raises(ClientError, match="ValidationException") as refused:
        batch.create(batch.put(records(1)), **options)
    assert words in str(refused.value)


def test_a_repeated_token_is_ignored_without_an_error(batch: Batch) -> None:
    source, token = batch.put(records(100)), unique("batch-1700000000-0001")
    first = batch.create(source, clientRequestToken=token)
    assert batch.create(source, clientRequestToken=token) == first
    name = batch.ended(first)["jobName"]
    listed = batch.bedrock.list_model_invocation_jobs(nameContains=name)["invocationJobSummaries"]
    assert [job["clientRequestToken"] for job in listed] == [token]


def test_jobs_above_the_quota_for_a_model_are_refused_until_one_ends(batch: Batch) -> None:
    source, other = batch.put(records(100)), "amazon.nova-lite-v1:0"
    with bedrock_settings(batch.aws.endpoint_url, concurrent_jobs=2, stage_seconds=1):
        arns = [batch.create(source, modelId=other), batch.create(source, modelId=f"us.{other}", roleArn=batch.role)]
        with pytest.raises(ClientError, match="ServiceQuotaExceededException"):
            batch.create(source, modelId=other)
        for arn in arns:
            batch.ended(arn)
        batch.ended(batch.create(source, modelId=other))


def test_jobs_are_listed_by_name_status_and_time_in_pages(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListModelInvocationJobs.html"""
    prefix, source = unique("list"), batch.put(records(100))
    arns = [batch.create(source, jobName=f"{prefix}-{number}") for number in range(5)]
    for arn in arns:
        batch.ended(arn)
    pages = batch.bedrock.get_paginator("list_model_invocation_jobs").paginate(
        nameContains=prefix, PaginationConfig={"PageSize": 2}
    )
    found = [[job["jobArn"] for job in page["invocationJobSummaries"]] for page in pages]
    assert [len(page) for page in found] == [2, 2, 1]
    assert [arn for page in found for arn in page] == arns[::-1]
    moment = batch.describe(arns[2])["submitTime"]
    later = batch.bedrock.list_model_invocation_jobs(
        nameContains=prefix,
        submitTimeAfter=moment,
        sortBy="CreationTime",
        sortOrder="Ascending",
        statusEquals="Completed",
    )["invocationJobSummaries"]
    assert {job["jobArn"] for job in later} - {arns[2]} == set(arns[3:])
    with pytest.raises(ClientError, match="ValidationException"):
        batch.bedrock.list_model_invocation_jobs(nextToken="nonsense")


def test_a_stopped_job_keeps_the_records_it_has_processed(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-stop.html"""
    with bedrock_fault(batch.aws.endpoint_url, "slow", seconds_per_record=0.05, job_name_pattern="slow-*"):
        arn = batch.create(batch.put(records(400)), jobName=unique("slow"))
        assert eventually(lambda: batch.describe(arn)["processedRecordCount"] > 20)
        batch.bedrock.stop_model_invocation_job(jobIdentifier=arn)
        assert batch.describe(arn)["status"] in ("Stopping", "Stopped")
    job = batch.ended(arn)
    assert job["status"] == "Stopped"
    assert 20 < job["processedRecordCount"] < 400
    assert len(batch.output(arn)) == job["processedRecordCount"] == batch.manifest(arn)["processedRecordCount"]
    with pytest.raises(ClientError, match="ConflictException"):
        batch.bedrock.stop_model_invocation_job(jobIdentifier=arn)


def test_a_job_stopped_before_it_began_has_no_output(batch: Batch) -> None:
    with bedrock_settings(batch.aws.endpoint_url, stage_seconds=3):
        arn = batch.create(batch.put(records(100)))
        batch.bedrock.stop_model_invocation_job(jobIdentifier=arn.rpartition("/")[2])
        assert batch.ended(arn)["status"] == "Stopped"
    assert batch.keys(arn) == []


def test_an_unknown_job_is_not_found(batch: Batch) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        batch.describe("abcdefghijkl")


# --- Permissions


def caller(batch: Batch, *statements: dict[str, Any]) -> Any:
    """A client with a role of these statements."""
    root = {"AWS": f"arn:aws:iam::{batch.aws.account_id}:root"}
    return batch.aws.client_as(make_role(batch.aws, *statements, trusted=root), "bedrock")


def test_creating_a_job_needs_the_model_the_job_and_the_passing_of_its_role(batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-prereq.html"""
    source, create = batch.put(records(100)), "bedrock:CreateModelInvocationJob"
    model = allow(create, f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}")
    job = allow(create, f"arn:aws:bedrock:us-east-1:{batch.aws.account_id}:model-invocation-job/*")
    passing = allow("iam:PassRole", batch.role)
    passed_to = {"Condition": {"StringEquals": {"iam:PassedToService": "bedrock.amazonaws.com"}}}
    for statements, missing in (
        ([job, passing], f"perform: {create} on resource: arn:aws:bedrock:us-east-1::foundation-model/{MODEL}"),
        (
            [model, passing],
            f"perform: {create} on resource: arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/",
        ),
        ([model, job], f"perform: iam:PassRole on resource: {batch.role}"),
    ):
        with pytest.raises(ClientError, match="AccessDenied") as denied:
            batch.create(source, caller(batch, *statements))
        assert missing in str(denied.value)
    allowed = caller(batch, model, job, passing | passed_to)
    assert batch.ended(batch.create(source, allowed))["status"] == "Completed"


def test_getting_and_stopping_need_their_permissions_on_the_job(batch: Batch) -> None:
    arn = batch.create(batch.put(records(100)))
    reader = caller(batch, allow("bedrock:GetModelInvocationJob", arn))
    assert reader.get_model_invocation_job(jobIdentifier=arn.rpartition("/")[2])["jobArn"] == arn
    for refused in (
        lambda: reader.stop_model_invocation_job(jobIdentifier=arn),
        reader.list_model_invocation_jobs,
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    batch.ended(arn)


@pytest.mark.parametrize("missing", ["s3:GetObject", "s3:ListBucket", "s3:PutObject"])
def test_a_job_fails_where_its_role_lacks_a_permission(batch: Batch, missing: str) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html"""
    folder = batch.put(records(100)).rpartition("/")[0]
    role = batch.make_role(*{"s3:GetObject", "s3:ListBucket", "s3:PutObject"} - {missing})
    job = batch.ended(batch.create(folder, roleArn=role))
    assert (job["status"], missing in job["message"]) == ("Failed", True)


def test_a_role_that_does_not_trust_bedrock_is_refused(batch: Batch) -> None:
    source, role = batch.put(records(100)), batch.make_role("s3:*", service="lambda.amazonaws.com")
    with pytest.raises(ClientError, match="cannot assume the role"):
        batch.create(source, roleArn=role)


def test_an_encrypted_bucket_needs_its_key(own_batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html"""
    key = own_batch.aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    own_batch.s3.put_bucket_encryption(Bucket=own_batch.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    source = own_batch.put(records(100))
    job = own_batch.ended(own_batch.create(source))
    assert (job["status"], "kms:Decrypt" in job["message"]) == ("Failed", True)
    policy = {"Version": "2012-10-17", "Statement": [allow(["kms:Decrypt", "kms:GenerateDataKey"], key)]}
    role = own_batch.role.rpartition("/")[2]
    own_batch.aws.client("iam").put_role_policy(RoleName=role, PolicyName="key", PolicyDocument=json.dumps(policy))
    time.sleep(1.1)
    arn = own_batch.create(source)
    assert own_batch.ended(arn)["status"] == "Completed"
    head = own_batch.s3.head_object(Bucket=own_batch.bucket, Key=f"out/{arn.rpartition('/')[2]}/manifest.json.out")
    assert head["SSEKMSKeyId"] == key


def test_an_inference_profile_needs_the_right_to_invoke_the_models_behind_it(own_batch: Batch) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html"""
    source, profile = own_batch.put(records(100)), f"us.{MODEL}"
    job = own_batch.ended(own_batch.create(source, modelId=profile))
    assert (job["status"], "bedrock:InvokeModel" in job["message"]) == ("Failed", True)
    policy = {"Version": "2012-10-17", "Statement": [allow("bedrock:InvokeModel", "*")]}
    role = own_batch.role.rpartition("/")[2]
    own_batch.aws.client("iam").put_role_policy(RoleName=role, PolicyName="models", PolicyDocument=json.dumps(policy))
    time.sleep(1.1)
    assert own_batch.ended(own_batch.create(source, modelId=profile))["status"] == "Completed"


# --- Faults on request


@pytest.mark.parametrize(
    ("fault", "status", "processed"),
    [
        ("fail", "Failed", 0),
        ("expire", "Expired", 0),
        ("partially_complete", "PartiallyCompleted", 100),
        ("stop_half", "Stopped", 100),
    ],
)
def test_a_job_ends_badly_when_a_test_asks_for_it(batch: Batch, fault: str, status: str, processed: int) -> None:
    with bedrock_fault(batch.aws.endpoint_url, fault, job_name_pattern="bad-*", message="Asked to fail."):
        arn, job = batch.run(records(200), jobName=unique("bad"))
        _good, untouched = batch.run(records(100))
    assert (job["status"], job["processedRecordCount"]) == (status, processed)
    assert untouched["status"] == "Completed"
    assert batch.keys(arn) == (["input-0001.jsonl.out", "manifest.json.out"] if processed else [])
    if processed:
        assert len(batch.output(arn)) == processed
    if fault == "fail":
        assert job["message"] == "Asked to fail."


def test_a_share_of_the_records_fails_or_is_no_json_when_a_test_asks_for_it(batch: Batch) -> None:
    with bedrock_fault(batch.aws.endpoint_url, "record_errors", rate=0.01):
        arn, job = batch.run(records(250))
    assert job["errorRecordCount"] == 3
    assert sum("error" in line for line in batch.output(arn)) == 3
    with bedrock_fault(batch.aws.endpoint_url, "broken_json", rate=0.1):
        arn, _job = batch.run(records(100))
    texts = [line["modelOutput"]["output"]["message"]["content"][0]["text"] for line in batch.output(arn)]
    assert sum(text.endswith("unfinished") for text in texts) == 10


def test_a_creation_is_refused_as_often_as_a_test_asks_for_it(batch: Batch) -> None:
    source = batch.put(records(100))
    with bedrock_fault(batch.aws.endpoint_url, "refuse", code="ThrottlingException", message="Rate exceeded", count=1):
        with pytest.raises(ClientError, match=r"ThrottlingException.*Rate exceeded"):
            batch.create(source)
        assert batch.ended(batch.create(source))["status"] == "Completed"
    assert control(batch.aws.endpoint_url, "GET", "bedrock/faults") == []
