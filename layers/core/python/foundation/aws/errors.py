"""Translates botocore's exceptions into the errors of ``foundation.errors``.

The codes are those of the services' API references ("Common errors" and each operation's "Errors" section).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    CapacityNotAvailableError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError

from foundation.errors import (
    BatchProcessorError,
    DeploymentError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermanentError,
    ServiceUnavailableError,
    ThrottledError,
)

Answer = TypeVar("Answer")

AWS_ERRORS = (ClientError, BotoCoreError)
"""Everything that a botocore call raises: error responses, and failures without a response. Always catch both."""
UNANSWERED = (
    AwsConnectionError,
    CapacityNotAvailableError,
    ChecksumError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
"""No answer arrived, or it arrived incomplete or damaged."""
NO_CREDENTIALS = (
    CredentialRetrievalError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "ExpiredToken",
        "ExpiredTokenException",
        "Forbidden",
        "InvalidClientTokenId",
        "KMS.AccessDeniedException",
        "KMSAccessDenied",
        "KMSAccessDeniedException",
        "KmsAccessDeniedException",
        "NotAuthorized",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
MISSING_RESOURCE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "KMS.NotFoundException",
        "KMSDisabledException",
        "KMSNotFoundException",
        "KmsInvalidStateException",
        "NoSuchBucket",
        "NotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "StateMachineDeleting",
        "StateMachineDoesNotExist",
    }
)
MISSING_OBJECT = frozenset({"404", "NoSuchKey", "NoSuchVersion"})
CONDITION_FAILED = "ConditionalCheckFailedException"
"""DynamoDB's code for a write whose condition does not hold."""
CHANGED_OBJECT = frozenset({"412", "PreconditionFailed"})
THROTTLED = frozenset(
    {
        "429",
        "EC2ThrottledException",
        "KMS.ThrottlingException",
        "KMSThrottledException",
        "KMSThrottlingException",
        "KmsThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
UNAVAILABLE = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "ServiceException",
        "ServiceUnavailable",
    }
)


def error_code(error: ClientError | BotoCoreError) -> str:
    """The service's code, such as ``NoSuchKey``; S3 HEAD requests have only the HTTP status ("404"). "": no answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_name(error: ClientError | BotoCoreError) -> str:
    """The service's error code, or the name of botocore's exception."""
    return error_code(error) if isinstance(error, ClientError) else type(error).__name__


def message_of(error: ClientError | BotoCoreError) -> str:
    """The service's message, without the SDK's words around it; botocore's own message if there was no answer."""
    return str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, ClientError) else str(error)


def translate(error: ClientError | BotoCoreError, action: str, resource: str) -> BatchProcessorError:
    """Our error for a botocore exception.

    ``action`` is an IAM action ("s3:GetObject"); ``resource`` is a URI, an ARN or a name.
    """
    if isinstance(error, ClientError):
        return _translate_answer(error, action, resource)
    if isinstance(error, NO_CREDENTIALS):
        return DeploymentError(
            f"{action} on {resource}: no AWS credentials were found ({error}). Give the function a role."
        )
    if isinstance(error, UNANSWERED):
        return ServiceUnavailableError(f"{action} on {resource} got no answer: {error}. Try again later.")
    return PermanentError(f"{action} on {resource} could not be sent: {error}")


def _translate_answer(error: ClientError, action: str, resource: str) -> BatchProcessorError:
    code = error_code(error)
    message = message_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{action} on {resource}: {code}: {message}"
    if code in DENIED:
        return DeploymentError(
            f"{action} on {resource} was denied ({code}: {message}). Allow {action} on it in the role of this function."
        )
    if code in MISSING_RESOURCE:
        return DeploymentError(f"{said}. It does not exist: deploy again, or correct the configuration that names it.")
    if code in MISSING_OBJECT:
        return ObjectNotFoundError(f"{resource} does not exist ({action}: {code}).")
    if code in CHANGED_OBJECT:
        return ObjectChangedError(f"{resource} changed while it was read ({action}: {code}). Start again.")
    if code in THROTTLED or status == 429:
        return ThrottledError(f"{said}. Try again at a slower pace.")
    if code in UNAVAILABLE or status >= 500:
        return ServiceUnavailableError(f"{said}. Try again later.")
    return PermanentError(said)


@contextmanager
def translated(action: str, resource: str) -> Iterator[None]:
    """Run a block of boto3 calls, and translate botocore's exceptions into errors of ``foundation.errors``."""
    try:
        yield
    except AWS_ERRORS as error:
        raise translate(error, action, resource) from error


def conditional(action: str, table: str, write: Callable[[], Answer]) -> Answer | None:
    """The answer of a conditional write to DynamoDB; None if its condition does not hold.

    Other exceptions of botocore are translated as by ``translated``.
    """
    try:
        return write()
    except AWS_ERRORS as error:
        if error_code(error) == CONDITION_FAILED:
            return None
        raise translate(error, action, table) from error
