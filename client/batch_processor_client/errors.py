"""The errors of the client: each says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ClientError as RefusedByAwsError
from botocore.exceptions import ConnectionError as NoConnectionError

from foundation.errors import BatchProcessorError, DeploymentError

NO_CREDENTIALS = (NoCredentialsError, CredentialRetrievalError, TokenRetrievalError, SSOError)
EXPIRED = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"),
    }
)
"""https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html, and what S3 and STS call the same."""
THROTTLED = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded"),
        *("TooManyRequestsException", "ProvisionedThroughputExceededException", "SlowDown"),
    }
)
"""https://docs.aws.amazon.com/general/latest/gr/api-retries.html and the SDK's own list of throttling errors."""
OVERLOADED = frozenset({429, 503})
"""API Gateway's answers when it throttles
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html), and what our own
functions answer when they want to be asked again."""


class ClientError(Exception):
    """Raised when an operation cannot be done; the message says why and what to do."""


class ApiRefusedError(ClientError):
    """Raised when the admin API refuses a request. ``problems`` has each mistake: its path, message and fix."""

    def __init__(self, message: str, status: int, problems: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.status = status
        self.problems = problems


EXPECTED = (ClientError, BatchProcessorError, RefusedByAwsError, BotoCoreError, Boto3Error)
"""Errors that are shown as one message. Any other error is a bug, and is shown with its stack trace."""


def explain(error: Exception) -> str:
    """The message of an expected error."""
    match error:
        case RefusedByAwsError() | S3UploadFailedError():  # the latter is raised when AWS refuses an upload
            return f"AWS refused: {error}"
        case NoConnectionError() | HTTPClientError():
            return f"AWS could not be reached: {error}"
        case BotoCoreError() | Boto3Error():
            return f"AWS was not asked: {error}"
        case DeploymentError():  # its message is for a function; here, a person lacks the permission
            return str(error).replace("in the role of this function", "in the policies of your credentials")
    return str(error)


def lacks_credentials(error: Exception) -> bool:
    """Whether AWS credentials are missing or have expired."""
    return any(isinstance(one, NO_CREDENTIALS) or _code(one) in EXPIRED for one in _chain(error))


def is_throttled(error: Exception) -> bool:
    """Whether the same request can succeed in a moment, because AWS or the API is overloaded."""
    return any(
        _code(one) in THROTTLED or (isinstance(one, ApiRefusedError) and one.status in OVERLOADED)
        for one in _chain(error)
    )


def _code(error: BaseException) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, RefusedByAwsError) else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes: operations translate what AWS says."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
