"""The functions that create and administer jobs, as Lambda runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.deployment import scaled

REPOSITORY = Path(__file__).resolve().parents[3]

ENVIRONMENT = {
    "POWERTOOLS_SERVICE_NAME": "test",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "BATCH_JOBS_TABLE": "VentureOS-BedrockBatchJobs",
    "DATA_BUCKET": "data",
    "AGENCIES": '["osha"]',
    "MODELS": '{"amazon.nova-lite-v1:0": {}}',
    "DEFAULT_MODEL": "amazon.nova-lite-v1:0",
    "BATCH_PROCESSOR_FUNCTION": "ventureos-bedrock-batch-processor",
    "JOB_EVENTS_FUNCTION": "ventureos-bedrock-job-events",
    "JOB_ROLE_ARN": "arn:aws:iam::000000000000:role/ventureos-bedrock-batch-job-role",
    "QUOTAS": '{"concurrent_jobs": 2}',
    "S3_TABLE_BUCKET_ARN": "arn:aws:s3tables:us-east-1:000000000000:bucket/lake",
    "LAKE_NAMESPACE": "silver",
    "LAKE_MEMORY_MB": "768",
    "VIOLATIONS_TABLE": "VentureOS-Violations",
}
CONTEXT = (
    "type('Context', (), {'aws_request_id': 'r', 'function_name': 'f', "
    "'get_remaining_time_in_millis': lambda self: 300_000})()"
)
"""What Lambda passes."""


def run(code: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/core/python")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**ENVIRONMENT, "PYTHONPATH": path, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_admin_api_answers_without_duckdb_and_without_a_client() -> None:
    event = {
        "rawPath": "/admin/openapi.json",
        "headers": {},
        "requestContext": {"http": {"method": "GET", "path": "/admin/openapi.json"}, "stage": "$default"},
    }
    printed = run(
        f"""
import json, sys
from functions.bedrock_admin_api.handler import handler
answer = handler({event!r}, {CONTEXT})
print(answer["statusCode"], sorted({{"duckdb", "boto3"}} & set(sys.modules)))
print(answer["body"])
"""
    )
    assert printed[0] == "200 []"
    assert json.loads(printed[1])["info"]["title"] == "Bedrock batches"


def test_the_processor_is_put_together_from_its_settings() -> None:
    printed = run(
        f"""
from bedrock_batches import wiring
from foundation.settings import load
from bedrock_batches.settings import BedrockBatchProcessorSettings
import functions.bedrock_batch_processor.handler
services = wiring.create_services(load(BedrockBatchProcessorSettings), {CONTEXT})
print(services.quotas.concurrent_jobs, services.quotas.minimum_records, list(services.lake.agencies))
print(min(services.models), services.deadline.remaining_seconds())
"""
    )
    assert printed == ["2 100 ['osha']", "amazon.nova-lite-v1:0 300.0"]


def test_an_input_of_records_with_long_texts_is_written_within_512_mb() -> None:
    parts = scaled(2, 1)  # Each as large as a part can be.
    (printed,) = run(f"from tests.support.job_at_size import main; main({parts * 50_000}, characters=6_000)")
    measured = json.loads(printed)
    assert measured["records"] == parts * 50_000
    assert measured["parts"] == [50_000] * parts
    assert measured["peak_mb"] < 512
