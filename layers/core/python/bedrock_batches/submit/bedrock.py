"""Amazon Bedrock: batch inference jobs, and Converse for jobs that are too small for batch inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_batches.submit import names
from bedrock_batches.submit.job import BedrockStatus, Part
from bedrock_batches.submit.ports import BatchInferenceJob, JobRefusedError
from foundation.aws.errors import AWS_ERRORS, error_code, translate, translated
from foundation.errors import ServiceUnavailableError, ThrottledError

ACTIVE = (
    BedrockStatus.SUBMITTED,
    BedrockStatus.VALIDATING,
    BedrockStatus.SCHEDULED,
    BedrockStatus.IN_PROGRESS,
    BedrockStatus.STOPPING,
)
QUOTA_REACHED = frozenset({"ServiceQuotaExceededException"})
CREATE = "bedrock:CreateModelInvocationJob"


MODEL_FAULTS = frozenset({"ModelErrorException", "ModelTimeoutException", "ModelNotReadyException"})
"""Errors of Converse that the model caused and that can pass."""


class BedrockBatchInference:
    """``client`` is boto3's for ``bedrock``."""

    def __init__(self, client: Any, job_role_arn: str) -> None:
        self._client = client
        self._job_role_arn = job_role_arn

    def submit(self, part: Part, bucket: str) -> str:
        """Start a job and return its ARN. A repeated clientRequestToken starts nothing: the answer is the ARN of the
        existing job (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_CreateModelInvocationJob.html)."""
        try:
            answer = self._client.create_model_invocation_job(
                jobName=part.job_name,
                clientRequestToken=part.job_name,
                roleArn=self._job_role_arn,
                modelId=part.model_id,
                modelInvocationType="Converse",
                inputDataConfig={
                    "s3InputDataConfig": {"s3Uri": f"s3://{bucket}/{part.input_key}", "s3InputFormat": "JSONL"}
                },
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}/{names.output_prefix(part.job_id)}"}},
                timeoutDurationInHours=part.timeout_hours,
            )
        except ClientError as error:
            raise _refusal(error, part) from error
        except BotoCoreError as error:
            raise translate(error, CREATE, part.job_name) from error
        return str(answer["jobArn"])

    def get(self, job_arn: str) -> BatchInferenceJob:
        with translated("bedrock:GetModelInvocationJob", job_arn):
            answer = self._client.get_model_invocation_job(jobIdentifier=job_arn)
        return BatchInferenceJob(
            arn=answer["jobArn"],
            status=answer.get("status", BedrockStatus.SUBMITTED.value),
            message=answer.get("message", ""),
            total=answer.get("totalRecordCount", 0),
            processed=answer.get("processedRecordCount", 0),
            succeeded=answer.get("successRecordCount", 0),
            failed=answer.get("errorRecordCount", 0),
        )

    def stop(self, job_arn: str) -> None:
        try:
            self._client.stop_model_invocation_job(jobIdentifier=job_arn)
        except ClientError as error:
            if error_code(error) != "ConflictException":  # it has ended, or is stopping
                raise translate(error, "bedrock:StopModelInvocationJob", job_arn) from error
        except BotoCoreError as error:
            raise translate(error, "bedrock:StopModelInvocationJob", job_arn) from error

    def running(self, model_id: str) -> int:
        """Jobs of the model that run or wait. The list names a model by its ARN; a request can name it by its id."""
        count = 0
        pages = self._client.get_paginator("list_model_invocation_jobs")
        with translated("bedrock:ListModelInvocationJobs", model_id):
            for status in ACTIVE:
                for page in pages.paginate(statusEquals=status.value):
                    jobs = page.get("invocationJobSummaries", [])
                    count += sum(_same_model(job["modelId"], model_id) for job in jobs)
        return count


def _refusal(error: ClientError, part: Part) -> Exception:
    ours = translate(error, CREATE, part.job_name)
    said = str(error.response.get("Error", {}).get("Message", ""))
    if error_code(error) in QUOTA_REACHED:
        return ThrottledError(f"Bedrock runs as many jobs as its quota allows: {said}")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if isinstance(ours, ThrottledError) or status >= 500:
        return ours
    return JobRefusedError(f"{error_code(error)}: {said}")


def _same_model(listed: str, wanted: str) -> bool:
    return listed.rpartition("/")[2] == wanted.rpartition("/")[2]


class BedrockOnDemand:
    """``client`` is boto3's for ``bedrock-runtime``, shared between threads, which boto3 allows for clients."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def converse(self, model_id: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        """Call the model once. Raises ServiceUnavailableError also if the model failed, because the next call can
        succeed."""
        try:
            answer: dict[str, Any] = dict(self._client.converse(modelId=model_id, **model_input))
        except AWS_ERRORS as error:
            # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html: status 408 and 424.
            if isinstance(error, ClientError) and error_code(error) in MODEL_FAULTS:
                said = f"bedrock:InvokeModel on {model_id}: {error}. Try again later."
                raise ServiceUnavailableError(said) from error
            raise translate(error, "bedrock:InvokeModel", model_id) from error
        return {name: answer[name] for name in ("output", "stopReason", "usage", "metrics") if name in answer}
