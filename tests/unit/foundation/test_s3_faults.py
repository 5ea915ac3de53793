"""Faults of S3 that pass: bodies that are cut, answers that are lost."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from urllib3.exceptions import SSLError

from foundation.aws import s3
from foundation.aws.retry import retried
from foundation.aws.s3 import BODY_ATTEMPTS, RANGE_BYTES, S3ObjectStore
from foundation.errors import DeploymentError, ObjectChangedError, PermanentError, ServiceUnavailableError
from row_batches.document.s3_location import S3Location
from row_batches.files.ports import InputObject
from row_batches.files.s3 import S3InputObjects, S3WorkObjects

BODY = bytes(range(256)) * 4 * 1024 * 40  # 40 MiB: several ranges
CUTS: list[Exception] = [
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ResponseStreamingError(error="connection broken"),
    ReadTimeoutError(endpoint_url="https://s3"),
    FlexibleChecksumError(error_msg="checksum mismatch"),
    SSLError("bad record"),
    ConnectionResetError("reset by peer"),
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "retried", partial(retried, sleep=lambda _: None))


class Body(io.BytesIO):
    def __init__(self, content: bytes, fault: Exception | None) -> None:
        super().__init__(content)
        self.fault = fault

    def read(self, size: int | None = -1) -> bytes:
        if self.fault is not None:
            raise self.fault
        return super().read(size)


class CuttingS3:
    """Gives the ranges of BODY; the bodies of answers in ``faults``, by their number, break while they are read."""

    def __init__(self, faults: dict[int, Exception]) -> None:
        self.faults = faults
        self.asked: list[dict[str, Any]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        fault = self.faults.get(len(self.asked))
        if "Range" not in request:
            return {"Body": Body(BODY, fault), "ETag": '"e"'}
        start, end = map(int, request["Range"].removeprefix("bytes=").split("-"))
        content = BODY[start : end + 1]
        found = f"bytes {start}-{start + len(content) - 1}/{len(BODY)}"
        return {"Body": Body(content, fault), "ETag": '"e"', "ContentRange": found}


def as_store(client: Any) -> S3ObjectStore:
    return S3ObjectStore(client, "results")


READERS: list[Callable[[Any], bytes]] = [
    lambda client: as_store(client).get("key"),
    lambda client: b"".join(as_store(client).read("key", "v1")),
    lambda client: b"".join(S3InputObjects(client).stream(InputObject(S3Location("b", "k"), len(BODY), '"e"'))),
    lambda client: S3WorkObjects(client, "results").get("key"),
]
NAMES = ["get", "read", "the user's input", "work"]


@pytest.mark.parametrize("read", READERS, ids=NAMES)
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: type(cut).__name__)
def test_a_body_that_is_cut_short_is_read_all_the_same(read: Callable[[Any], bytes], cut: Exception) -> None:
    client = CuttingS3({1: cut, 3: cut})

    assert read(client) == BODY


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_bodies_that_are_always_cut_are_a_fault_that_passes(read: Callable[[Any], bytes]) -> None:
    client = CuttingS3(dict.fromkeys(range(100), CUTS[0]))

    with pytest.raises(ServiceUnavailableError, match=r"s3:GetObject on s3://.*cut short"):
        read(client)
    assert len(client.asked) == BODY_ATTEMPTS


def test_ranges_that_follow_are_of_the_object_that_the_first_found() -> None:
    client = CuttingS3({})

    list(as_store(client).read("key"))

    assert "IfMatch" not in client.asked[0]
    assert {request["IfMatch"] for request in client.asked[1:]} == {'"e"'}
    assert client.asked[1]["Range"] == f"bytes={RANGE_BYTES}-{2 * RANGE_BYTES - 1}"


def test_the_users_object_is_the_one_that_was_looked_at() -> None:
    class Changed(CuttingS3):
        def get_object(self, **request: Any) -> dict[str, Any]:
            assert request["IfMatch"] == '"e"'
            raise refusal("PreconditionFailed", 412)

    with pytest.raises(ObjectChangedError):
        list(S3InputObjects(Changed({})).stream(InputObject(S3Location("b", "k"), 5, '"e"')))  # type: ignore[arg-type]


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


class Completing:
    """``answers`` of CompleteMultipartUpload, one a call; ``head`` is that of HeadObject."""

    def __init__(self, *answers: Any, head: dict[str, str] | None = None) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self._head = head

    def complete_multipart_upload(self, **_: Any) -> Any:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def head_object(self, **_: Any) -> dict[str, str]:
        if self._head is None:
            raise refusal("404", 404)
        return self._head


LOST = ConnectionClosedError(endpoint_url="https://s3")
DONE = {"VersionId": "v7", "ETag": '"abc-2"'}


def complete(client: Any) -> str:
    return as_store(client).complete_upload("key", "upload", ["a", "b"])


@pytest.mark.parametrize(
    "client",
    [
        Completing(DONE),
        Completing(LOST, DONE),
        Completing(LOST, refusal("NoSuchUpload", 404), head=DONE),
        Completing(refusal("NoSuchUpload", 404), head=DONE),
        Completing(refusal("InternalError", 500), DONE),
    ],
    ids=["answered", "lost", "lost, but done", "done before", "a fault of S3"],
)
def test_an_upload_is_completed_and_its_version_known_whatever_happened_to_the_answer(client: Completing) -> None:
    assert complete(client) == "v7"


def test_answers_that_stay_away_are_a_fault_that_passes() -> None:
    with pytest.raises(ServiceUnavailableError):
        complete(Completing(LOST, LOST))


@pytest.mark.parametrize("head", [None, {"VersionId": "v1", "ETag": '"abc-5"'}, {"VersionId": "v1", "ETag": '"abc"'}])
def test_another_object_is_not_taken_for_the_upload(head: dict[str, str] | None) -> None:
    with pytest.raises(PermanentError, match="NoSuchUpload"):
        complete(Completing(refusal("NoSuchUpload", 404), head=head))


class Aborting:
    """``answer`` is that of AbortMultipartUpload."""

    def __init__(self, answer: ClientError) -> None:
        self._answer = answer

    def abort_multipart_upload(self, **_: Any) -> None:
        raise self._answer


def test_an_upload_that_is_gone_already_is_aborted() -> None:
    as_store(Aborting(refusal("NoSuchUpload", 404))).abort_upload("key", "upload")
    with pytest.raises(DeploymentError):
        as_store(Aborting(refusal("AccessDenied", 403))).abort_upload("key", "upload")
