"""How an error is told: what AWS answered, what never reached it, what was never sent."""

from __future__ import annotations

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from tests.unit.client.fakes import refusal
from tools.errors import CommandError, exit_code_of


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CommandError("Name the CSV."), "Name the CSV."),
        (refusal("AccessDenied", "PutObject"), "AWS refused: An error occurred (AccessDenied)"),
        (S3UploadFailedError("Failed to upload rows.csv"), "AWS refused: Failed to upload rows.csv"),
        (EndpointConnectionError(endpoint_url="https://s3"), "AWS could not be reached: Could not connect"),
        (ReadTimeoutError(endpoint_url="https://s3"), "AWS could not be reached: Read timeout"),
        (NoCredentialsError(), "AWS was not asked: Unable to locate credentials"),
    ],
)
def test_an_expected_error_is_one_message(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise error

    assert exit_code_of(command) == 1
    assert capsys.readouterr().err.startswith(told)
