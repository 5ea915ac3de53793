"""The errors of the client: each says what is wrong and what to do."""

from __future__ import annotations

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.exceptions import ClientError as RefusedByAwsError
from botocore.exceptions import ConnectionError as NoConnectionError

from foundation.errors import BatchProcessorError


class ClientError(Exception):
    """Raised when an operation cannot be done; the message says why and what to do."""


class ApiRefusedError(ClientError):
    """Raised when the admin API refuses a request. ``problems`` has each mistake: its path, message and fix."""

    def __init__(self, message: str, status: int, problems: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.status = status
        self.problems = problems


EXPECTED = (ClientError, BatchProcessorError, RefusedByAwsError, BotoCoreError, Boto3Error)
"""Errors that a face shows as one message. Any other is a bug, with its stack trace."""


def explain(error: Exception) -> str:
    """The message of an expected error."""
    match error:
        case RefusedByAwsError() | S3UploadFailedError():  # the latter is raised when AWS refuses an upload
            return f"AWS refused: {error}"
        case NoConnectionError() | HTTPClientError():
            return f"AWS could not be reached: {error}"
        case BotoCoreError() | Boto3Error():
            return f"AWS was not asked: {error}"
    return str(error)
