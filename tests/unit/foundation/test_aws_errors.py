"""What botocore raises, as errors of the system's own."""

from __future__ import annotations

import ast
from pathlib import Path

import botocore.exceptions
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from foundation.aws import errors
from foundation.aws.errors import NO_CREDENTIALS, translate, translated
from foundation.errors import (
    BatchProcessorError,
    DeploymentError,
    ObjectChangedError,
    ObjectNotFoundError,
    PermanentError,
    ServiceUnavailableError,
    ThrottledError,
)


def answered(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "said so"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "GetObject",
    )


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, DeploymentError),
        ("403", 403, DeploymentError),
        ("KMS.AccessDeniedException", 400, DeploymentError),
        ("NoSuchBucket", 404, DeploymentError),
        ("ResourceNotFoundException", 400, DeploymentError),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, DeploymentError),
        ("NoSuchKey", 404, ObjectNotFoundError),
        ("404", 404, ObjectNotFoundError),
        ("PreconditionFailed", 412, ObjectChangedError),
        ("SlowDown", 503, ThrottledError),
        ("TooManyRequestsException", 429, ThrottledError),
        ("SomethingNew", 429, ThrottledError),
        ("InternalError", 500, ServiceUnavailableError),
        ("SomethingNew", 502, ServiceUnavailableError),
        ("ValidationException", 400, PermanentError),
    ],
)
def test_a_services_code_decides(code: str, status: int, expected: type[BatchProcessorError]) -> None:
    error = translate(answered(code, status), "s3:GetObject", "s3://bucket/key")

    assert type(error) is expected
    assert "s3:GetObject" in str(error)
    assert "s3://bucket/key" in str(error)


def test_no_answer_may_be_tried_again_and_no_credentials_may_not() -> None:
    for lost in (EndpointConnectionError(endpoint_url="x"), ReadTimeoutError(endpoint_url="x")):
        assert type(translate(lost, "sqs:SendMessage", "queue")) is ServiceUnavailableError
    assert type(translate(NoCredentialsError(), "sqs:SendMessage", "queue")) is DeploymentError


def classes_of(base: type[BotoCoreError]) -> list[type[BotoCoreError]]:
    found = vars(botocore.exceptions).values()
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, base)]


@pytest.mark.parametrize("kind", classes_of(BotoCoreError))
def test_whatever_botocore_raises_is_an_error_of_ours(kind: type[BotoCoreError]) -> None:
    passes = kind.__name__ in PASSING
    nobody = issubclass(kind, NO_CREDENTIALS)

    with pytest.raises(BatchProcessorError) as raised, translated("s3:GetObject", "s3://bucket/key"):
        raise kind.__new__(kind)

    expected = ServiceUnavailableError if passes else DeploymentError if nobody else PermanentError
    assert type(raised.value) is expected


PASSING = {
    "CapacityNotAvailableError",
    "ChecksumError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "FlexibleChecksumError",
    "HTTPClientError",
    "IncompleteReadError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "SSLError",
}


HALVES = {"ClientError", "BotoCoreError"}


def test_nobody_catches_one_half_of_what_botocore_raises() -> None:
    # ClientError alone lets a connection that was closed out as it is.
    wrong = []
    for path in Path(errors.__file__).parents[2].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Try):
                caught = {
                    name.id
                    for one in node.handlers
                    if one.type
                    for name in ast.walk(one.type)
                    if isinstance(name, ast.Name)
                }
                if len(caught & HALVES) == 1:
                    wrong.append(f"{path.name}:{node.lineno}")
    assert wrong == []


def test_a_block_of_calls_is_translated_and_keeps_its_cause() -> None:
    with pytest.raises(DeploymentError) as raised, translated("s3:PutObject", "s3://b/k"):
        raise answered("AccessDenied")

    assert isinstance(raised.value.__cause__, ClientError)
