"""The users' buckets that results are copied to: one body of assertions, run on the fake and on the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from foundation.aws.s3 import S3ObjectStore
from foundation.errors import DeliveryError, ObjectNotFoundError
from foundation.ports import ObjectStore
from row_batches.document.s3_location import S3Location
from row_batches.files.outputs_s3 import S3OutputObjects
from row_batches.files.ports import OutputObjects
from tests.support.aws_resources import unique
from tests.support.fakes import SMALLEST_PART, FakeObjectStore, FakeOutputObjects
from tests.support.local_aws import LocalAws
from tests.support.moto_aws import moto_aws

KEY = "results/run 1/output.csv"
WORLDS = ["fake", "moto", pytest.param("local_aws", marks=pytest.mark.local_aws)]


@dataclass
class World:
    """The results bucket, and a bucket of the user's, which ``client`` can read; None for the fake."""

    results: ObjectStore
    outputs: OutputObjects
    theirs: str
    client: Any = None

    def place(self, key: str) -> S3Location:
        return S3Location(self.theirs, key)

    def delivered(self, key: str) -> bytes:
        if isinstance(self.outputs, FakeOutputObjects):
            return self.outputs.objects[self.place(key)]
        body: bytes = self.client.get_object(Bucket=self.theirs, Key=key)["Body"].read()
        return body

    @property
    def open_uploads(self) -> list[Any]:
        if isinstance(self.outputs, FakeOutputObjects):
            return self.outputs.open_uploads
        uploads: list[Any] = self.client.list_multipart_uploads(Bucket=self.theirs).get("Uploads", [])
        return uploads


def on_s3(client: Any) -> World:
    results, theirs = unique("results"), unique("theirs")
    for bucket in (results, theirs):
        client.create_bucket(Bucket=bucket)
    return World(S3ObjectStore(client, results), S3OutputObjects(lambda: client, results), theirs, client)


@pytest.fixture(scope="module")
def local_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        store = FakeObjectStore()
        yield World(store, FakeOutputObjects(store), "theirs")
    elif request.param == "moto":
        with moto_aws():
            yield on_s3(boto3.client("s3"))
    else:
        yield on_s3(request.getfixturevalue("local_aws").client("s3"))


def test_a_place_is_tried_without_leaving_anything_there(world: World) -> None:
    world.outputs.try_upload(world.place("out/output.csv"))

    assert world.open_uploads == []
    with pytest.raises((KeyError, world.client.exceptions.NoSuchKey if world.client else KeyError)):
        world.delivered("out/output.csv")


def test_a_bucket_that_does_not_exist_is_refused_with_the_way_out(world: World) -> None:
    place = S3Location(unique("missing"), "out/output.csv")

    with pytest.raises(DeliveryError, match="the bucket does not exist") as error:
        world.outputs.try_upload(place)

    assert error.value.fix == "create the bucket, or correct its name"


def test_an_object_with_tags_is_copied_without_them_and_a_body_is_written(world: World) -> None:
    world.results.put(KEY, b"a,b\n1,2\n", {"execution_id": "run 1"})

    world.outputs.copy(KEY, world.place("out/ü+1/output.csv"))
    world.outputs.put(world.place("out/summary.json"), b"{}")

    assert world.outputs.size(KEY) == 8
    assert world.delivered("out/ü+1/output.csv") == b"a,b\n1,2\n"
    assert world.delivered("out/summary.json") == b"{}"
    if world.client:
        copied = {"Bucket": world.theirs, "Key": "out/ü+1/output.csv"}
        assert world.client.get_object_tagging(**copied)["TagSet"] == []
        assert world.client.head_object(**copied)["ContentType"] == "text/csv; charset=utf-8"


def test_a_copy_replaces_an_earlier_one(world: World) -> None:
    for body in (b"first", b"second"):
        world.results.put(KEY, body)
        world.outputs.copy(KEY, world.place("out.csv"))

    assert world.delivered("out.csv") == b"second"


def test_an_object_is_copied_in_parts(world: World) -> None:
    body = b"x" * SMALLEST_PART + b"the rest"
    world.results.put(KEY, body)
    place = world.place("large.csv")

    upload_id = world.outputs.start_upload(place)
    ranges = [(1, 0, SMALLEST_PART), (2, SMALLEST_PART, len(body))]
    etags = [world.outputs.copy_part(KEY, place, upload_id, *part) for part in ranges]
    world.outputs.complete_upload(place, upload_id, etags)

    assert world.delivered("large.csv") == body
    assert world.open_uploads == []


@pytest.mark.parametrize("world", [WORLDS[0], WORLDS[2]], indirect=True)  # moto has no such answer
def test_an_upload_that_is_gone_is_told_from_a_refusal(world: World) -> None:
    world.results.put(KEY, b"a")
    place = world.place("out.csv")
    upload_id = world.outputs.start_upload(place)
    world.outputs.abort_upload(place, upload_id)

    world.outputs.abort_upload(place, upload_id)  # It is gone, as it should be.
    with pytest.raises(ObjectNotFoundError):
        world.outputs.copy_part(KEY, place, upload_id, 1, 0, 1)
    with pytest.raises(ObjectNotFoundError):
        world.outputs.complete_upload(place, upload_id, ["etag"])


def test_a_place_is_tried_although_the_answer_to_the_abort_was_lost() -> None:
    with moto_aws():
        client = boto3.client("s3")
        with Stubber(client) as stubbed:
            stubbed.add_response("create_multipart_upload", {"UploadId": "upload"})
            stubbed.add_client_error("abort_multipart_upload", "NoSuchUpload", http_status_code=404)

            S3OutputObjects(lambda: client, "results").try_upload(S3Location("theirs", "k"))

            stubbed.assert_no_pending_responses()


REFUSALS = [
    ("AccessDenied", "User: x is not authorized to perform: s3:PutObject", "s3:PutObject is denied", "the bucket"),
    ("AccessDenied", "not authorized to perform: kms:GenerateDataKey", "KMS key", "output_kms_key_arns"),
    ("KMS.DisabledException", "the key is disabled", "KMS key", "output_kms_key_arns"),
    ("PermanentRedirect", "use eu-west-1", "another region", "the deployment's region"),
    ("InvalidBucketState", "no", "S3 refuses it", "choose another one"),
]


@pytest.mark.parametrize(("code", "said", "reason", "fix"), REFUSALS)
def test_each_refusal_of_s3_has_its_reason_and_its_fix(code: str, said: str, reason: str, fix: str) -> None:
    with moto_aws():
        client = boto3.client("s3")
        with Stubber(client) as stubbed:
            stubbed.add_client_error("create_multipart_upload", code, said)

            with pytest.raises(DeliveryError, match=reason) as error:
                S3OutputObjects(lambda: client, "results").try_upload(S3Location("theirs", "k"))

    assert said in str(error.value)
    assert fix in error.value.fix
