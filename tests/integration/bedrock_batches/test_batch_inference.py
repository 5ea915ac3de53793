"""Amazon Bedrock, as botocore would answer: what is sent, and what becomes of refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from bedrock_batches.submit.bedrock import ACTIVE, BedrockBatchInference, BedrockOnDemand
from bedrock_batches.submit.job import Part, PartStatus
from bedrock_batches.submit.ports import BatchInferenceJob, JobRefusedError
from foundation.errors import (
    BatchProcessorError,
    DeploymentError,
    PermanentError,
    ServiceUnavailableError,
    ThrottledError,
)

ROLE = "arn:aws:iam::000000000000:role/ventureos-bedrock-batch-job-role"
ARN = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/abcdefghijkl"
JOB = "batch-1790000000-0123abcd"
PART = Part(
    job_id=JOB,
    number=1,
    status=PartStatus.QUEUED,
    job_name=f"{JOB}-0001",
    model_id="amazon.nova-lite-v1:0",
    input_key=f"bedrock-batches/input/{JOB}/input-0001.jsonl",
    timeout_hours=48,
)


def client(service: Any) -> Any:
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test", config=once
    )


@pytest.fixture
def bedrock() -> Iterator[Stubber]:
    with Stubber(client("bedrock")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def batch(bedrock: Stubber) -> BedrockBatchInference:
    return BedrockBatchInference(bedrock.client, ROLE)


def test_a_part_is_submitted_under_its_name_as_token(bedrock: Stubber) -> None:
    bedrock.add_response(
        "create_model_invocation_job",
        {"jobArn": ARN},
        {
            "jobName": f"{JOB}-0001",
            "clientRequestToken": f"{JOB}-0001",
            "roleArn": ROLE,
            "modelId": "amazon.nova-lite-v1:0",
            "modelInvocationType": "Converse",
            "inputDataConfig": {
                "s3InputDataConfig": {
                    "s3Uri": f"s3://data/bedrock-batches/input/{JOB}/input-0001.jsonl",
                    "s3InputFormat": "JSONL",
                }
            },
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://data/bedrock-batches/output/{JOB}/"}},
            "timeoutDurationInHours": 48,
        },
    )
    assert batch(bedrock).submit(PART, "data") == ARN


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ValidationException", 400, JobRefusedError),
        ("AccessDeniedException", 403, JobRefusedError),
        ("ResourceNotFoundException", 404, JobRefusedError),
        ("ConflictException", 400, JobRefusedError),
        ("ServiceQuotaExceededException", 400, ThrottledError),
        ("ThrottlingException", 429, ThrottledError),
        ("InternalServerException", 500, ServiceUnavailableError),
    ],
)
def test_a_refusal_is_told_apart_from_a_later(
    bedrock: Stubber, code: str, status: int, expected: type[BatchProcessorError]
) -> None:
    bedrock.add_client_error("create_model_invocation_job", code, "Bedrock's reason", http_status_code=status)
    with pytest.raises(expected, match="Bedrock's reason"):
        batch(bedrock).submit(PART, "data")


def test_a_job_is_read_with_its_counts(bedrock: Stubber) -> None:
    answer = {
        "jobArn": ARN,
        "modelId": "amazon.nova-lite-v1:0",
        "roleArn": ROLE,
        "submitTime": "2026-11-21T09:00:00Z",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://data/x"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://data/y"}},
        "status": "InProgress",
        "totalRecordCount": 150,
        "processedRecordCount": 40,
        "successRecordCount": 38,
        "errorRecordCount": 2,
    }
    bedrock.add_response("get_model_invocation_job", answer, {"jobIdentifier": ARN})
    assert batch(bedrock).get(ARN) == BatchInferenceJob(ARN, "InProgress", "", 150, 40, 38, 2)


def test_stopping_a_job_that_has_ended_is_no_error(bedrock: Stubber) -> None:
    bedrock.add_response("stop_model_invocation_job", {}, {"jobIdentifier": ARN})
    bedrock.add_client_error("stop_model_invocation_job", "ConflictException", "has ended", http_status_code=400)
    bedrock.add_client_error("stop_model_invocation_job", "AccessDeniedException", "no", http_status_code=403)
    batch(bedrock).stop(ARN)
    batch(bedrock).stop(ARN)
    with pytest.raises(DeploymentError):
        batch(bedrock).stop(ARN)


def test_running_jobs_are_those_of_the_model_in_every_active_status(bedrock: Stubber) -> None:
    foundation = "arn:aws:bedrock:us-east-1::foundation-model/"
    for status in ACTIVE:
        jobs = [
            {
                "jobArn": ARN,
                "jobName": "anyones",
                "modelId": foundation + model,
                "roleArn": ROLE,
                "submitTime": "2026-11-21T09:00:00Z",
                "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://data/x"}},
                "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://data/y"}},
            }
            for model in ("amazon.nova-lite-v1:0", "amazon.nova-pro-v1:0")
        ]
        bedrock.add_response("list_model_invocation_jobs", {"invocationJobSummaries": jobs}, {"statusEquals": status})
    assert batch(bedrock).running("amazon.nova-lite-v1:0") == len(ACTIVE)


def test_converse_answers_in_the_form_of_a_batch() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "x"}]}], "inferenceConfig": {"maxTokens": 5}}
    output = {"message": {"role": "assistant", "content": [{"text": "y"}]}}
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    answer = {"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 7}}
    with Stubber(client("bedrock-runtime")) as runtime:
        runtime.add_response("converse", answer, {"modelId": "m", **body})
        runtime.add_client_error("converse", "ValidationException", "too long", http_status_code=400)
        runtime.add_client_error("converse", "ThrottlingException", "slow", http_status_code=429)
        on_demand = BedrockOnDemand(runtime.client)
        assert on_demand.converse("m", body) == answer
        with pytest.raises(PermanentError, match="too long"):
            on_demand.converse("m", body)
        with pytest.raises(ThrottledError):
            on_demand.converse("m", body)
