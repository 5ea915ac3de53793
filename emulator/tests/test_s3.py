"""S3 as the product uses it: versions, conditions, tags, parts and listings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import allow, make_role, unique

PART = b"x" * 5 * 1024 * 1024


@pytest.fixture(scope="module")
def bucket(local_aws: LocalAws) -> str:
    name = unique("objects")
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture(scope="module")
def s3(local_aws: LocalAws) -> Any:
    return local_aws.client("s3")


def failure(refused: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def upload_parts(s3: Any, bucket: str, key: str, *bodies: bytes, **options: Any) -> tuple[str, list[dict[str, Any]]]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        tag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    return upload, parts


def test_a_version_can_be_read_after_it_was_replaced(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/RetrievingObjectVersions.html"""
    first = s3.put_object(Bucket=bucket, Key="versioned", Body=b"one", Metadata={"rows": "1"})
    s3.put_object(Bucket=bucket, Key="versioned", Body=b"two")
    old = s3.get_object(Bucket=bucket, Key="versioned", VersionId=first["VersionId"], IfMatch=first["ETag"])
    assert (old["Body"].read(), old["Metadata"], old["ETag"]) == (b"one", {"rows": "1"}, first["ETag"])
    assert s3.get_object(Bucket=bucket, Key="versioned")["Body"].read() == b"two"


def test_conditions_on_reads_and_writes_are_held(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html"""
    tag = s3.put_object(Bucket=bucket, Key="marker", Body=b"a", IfNoneMatch="*")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="marker", IfMatch=tag)["Body"].read() == b"a"
    for refused_call in (
        lambda: s3.get_object(Bucket=bucket, Key="marker", IfMatch='"other"'),
        lambda: s3.put_object(Bucket=bucket, Key="marker", Body=b"b", IfNoneMatch="*"),
        lambda: s3.put_object(Bucket=bucket, Key="marker", Body=b"b", IfMatch='"other"'),
    ):
        with pytest.raises(ClientError) as refused:
            refused_call()
        assert failure(refused) == (412, "PreconditionFailed")


def test_a_range_is_read_and_one_beyond_the_end_is_refused(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""
    s3.put_object(Bucket=bucket, Key="range", Body=b"0123456789")
    read = s3.get_object(Bucket=bucket, Key="range", Range="bytes=2-4")
    assert (read["Body"].read(), read["ContentRange"]) == (b"234", "bytes 2-4/10")
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="range", Range="bytes=10-")
    assert failure(refused) == (416, "InvalidRange")


def test_an_upload_in_parts_keeps_its_metadata_and_its_tags(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html"""
    options = {"Metadata": {"rows": "2"}, "ContentType": "text/csv", "Tagging": "target=agent%201&batch_name=b"}
    upload, parts = upload_parts(s3, bucket, "parts", PART, b"end", **options)
    listed = s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed] == [
        (1, len(PART), parts[0]["ETag"]),
        (2, 3, parts[1]["ETag"]),
    ]
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    head = s3.head_object(Bucket=bucket, Key="parts")
    assert (head["ContentLength"], head["Metadata"], head["ContentType"]) == (len(PART) + 3, {"rows": "2"}, "text/csv")
    assert head["ETag"].endswith('-2"')
    tags = s3.get_object_tagging(Bucket=bucket, Key="parts")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"target": "agent 1", "batch_name": "b"}


@pytest.mark.parametrize(
    ("choose", "code"),
    [
        (lambda parts: parts, "EntityTooSmall"),
        (lambda parts: parts[::-1], "InvalidPartOrder"),
        (lambda parts: [{**parts[0], "ETag": '"other"'}], "InvalidPart"),
        (lambda parts: [], "MalformedXML"),
    ],
)
def test_parts_that_s3_would_not_join_are_refused(s3: Any, bucket: str, choose: Any, code: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""
    upload, parts = upload_parts(s3, bucket, "refused", b"small", b"end")
    with pytest.raises(ClientError) as refused:
        s3.complete_multipart_upload(
            Bucket=bucket, Key="refused", UploadId=upload, MultipartUpload={"Parts": choose(parts)}
        )
    assert failure(refused) == (400, code)


def test_an_aborted_upload_is_gone(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html"""
    upload, _ = upload_parts(s3, bucket, "aborted", b"small")
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=upload)
    with pytest.raises(ClientError) as refused:
        s3.upload_part(Bucket=bucket, Key="aborted", UploadId=upload, PartNumber=2, Body=b"")
    assert failure(refused) == (404, "NoSuchUpload")
    assert not s3.list_multipart_uploads(Bucket=bucket, Prefix="aborted").get("Uploads")


def test_a_listing_of_thousands_of_keys_is_complete_and_in_order(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda row: s3.put_object(Bucket=bucket, Key=f"rows/{row:012d}.jsonl", Body=b""), range(2100)))

    def listed(**options: Any) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="rows/", **options)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    assert listed() == [f"rows/{row:012d}.jsonl" for row in range(2100)]
    assert listed(StartAfter="rows/000000001500.jsonl")[:1] == ["rows/000000001501.jsonl"]
    assert len(listed(StartAfter="rows/000000000099.jsonl", PaginationConfig={"PageSize": 300})) == 2000


AWKWARD = {
    "odd/1+1=2.csv": "odd/1%2B1%3D2.csv",
    "odd/100%.csv": "odd/100%25.csv",
    "odd/a b~(3).csv": "odd/a+b%7E%283%29.csv",
    "odd/größe.csv": "odd/gr%C3%B6%C3%9Fe.csv",
}
LISTINGS = {
    "list_objects": "Contents",
    "list_objects_v2": "Contents",
    "list_object_versions": "Versions",
    "list_multipart_uploads": "Uploads",
}


@pytest.fixture(scope="module")
def awkward(s3: Any) -> str:
    """A bucket whose objects and uploads have awkward keys."""
    name = unique("awkward")
    s3.create_bucket(Bucket=name)
    for key in AWKWARD:
        s3.put_object(Bucket=name, Key=key, Body=b"")
        s3.create_multipart_upload(Bucket=name, Key=key)
    return name


@pytest.mark.parametrize("call", LISTINGS)
def test_a_listing_encodes_keys_when_asked_to(s3: Any, awkward: str, call: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html: encoding-type"""
    listed = getattr(s3, call)(Bucket=awkward, EncodingType="url", Prefix="odd/")

    assert listed["EncodingType"] == "url"
    assert [entry["Key"] for entry in listed[LISTINGS[call]]] == sorted(AWKWARD.values(), key=decoded_order)


@pytest.mark.parametrize("call", LISTINGS)
def test_every_page_of_a_listing_gives_keys_that_work(s3: Any, awkward: str, call: str) -> None:
    """The SDK asks for the encoding by itself and decodes keys and markers."""
    pages = s3.get_paginator(call).paginate(Bucket=awkward, PaginationConfig={"PageSize": 1})

    keys = [entry["Key"] for page in pages for entry in page.get(LISTINGS[call], [])]

    assert keys == sorted(AWKWARD)
    assert all(s3.head_object(Bucket=awkward, Key=key) for key in keys)


@pytest.mark.parametrize("call", LISTINGS)
def test_an_unknown_encoding_is_refused(s3: Any, awkward: str, call: str) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(s3, call)(Bucket=awkward, EncodingType="base64")
    assert failure(refused) == (400, "InvalidArgument")


def decoded_order(encoded: str) -> str:
    return next(key for key, value in AWKWARD.items() if value == encoded)


def test_an_object_without_a_content_type_is_binary(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html; recording: service_errors_and_s3.json"""
    upload, parts = upload_parts(s3, bucket, "untyped-upload", b"small")
    s3.complete_multipart_upload(Bucket=bucket, Key="untyped-upload", UploadId=upload, MultipartUpload={"Parts": parts})
    s3.put_object(Bucket=bucket, Key="untyped", Body=b"")
    s3.put_object(Bucket=bucket, Key="typed", Body=b"", ContentType="text/csv")
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "typed"})

    types = [
        s3.head_object(Bucket=bucket, Key=key)["ContentType"]
        for key in ("untyped-upload", "untyped", "typed", "copied")
    ]

    assert types == ["binary/octet-stream", "binary/octet-stream", "text/csv", "text/csv"]


def test_a_missing_object_is_403_without_list_bucket_and_404_with_it(local_aws: LocalAws, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""
    objects = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*")
    for statements, expected in (
        ([objects], (403, "AccessDenied")),
        ([objects, allow("s3:ListBucket", f"arn:aws:s3:::{bucket}")], (404, "NoSuchKey")),
    ):
        reader = local_aws.client_as(make_role(local_aws, *statements), "s3")
        with pytest.raises(ClientError) as refused:
            reader.get_object(Bucket=bucket, Key="no-such-key")
        assert failure(refused) == expected
        with pytest.raises(ClientError) as refused:
            reader.head_object(Bucket=bucket, Key="no-such-key")
        assert failure(refused)[0] == expected[0]


def test_writing_tags_needs_its_own_permission(local_aws: LocalAws, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"""
    writes, tags = (allow(action, f"arn:aws:s3:::{bucket}/*") for action in ("s3:PutObject", "s3:PutObjectTagging"))
    with pytest.raises(ClientError, match="s3:PutObjectTagging on resource"):
        local_aws.client_as(make_role(local_aws, writes), "s3").put_object(Bucket=bucket, Key="t", Tagging="a=b")
    local_aws.client_as(make_role(local_aws, writes, tags), "s3").put_object(Bucket=bucket, Key="t", Tagging="a=b")


def test_a_copy_needs_to_read_its_source_and_the_tags_that_it_takes_over(local_aws: LocalAws, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html and
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
    """
    root, name = local_aws.client("s3"), "of tagged/ü+1"
    root.put_object(Bucket=bucket, Key=name, Body=b"rows", Tagging="a=b", ContentType="text/csv")
    source = {"Bucket": bucket, "Key": name}
    writes, reads = (allow(action, f"arn:aws:s3:::{bucket}/*") for action in ("s3:PutObject", "s3:GetObject"))
    with pytest.raises(ClientError, match="s3:GetObject on resource"):
        local_aws.client_as(make_role(local_aws, writes), "s3").copy_object(Bucket=bucket, Key="c", CopySource=source)
    copier = local_aws.client_as(make_role(local_aws, writes, reads), "s3")
    with pytest.raises(ClientError, match="s3:GetObjectTagging on resource"):
        copier.copy_object(Bucket=bucket, Key="c", CopySource=source)
    copier.copy_object(Bucket=bucket, Key="c", CopySource=source, TaggingDirective="REPLACE")
    assert root.get_object_tagging(Bucket=bucket, Key="c")["TagSet"] == []
    assert root.head_object(Bucket=bucket, Key="c")["ContentType"] == "text/csv"


def test_an_object_is_copied_in_parts_of_ranges(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html"""
    s3.put_object(Bucket=bucket, Key="whole", Body=PART + b"rest")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in parts")["UploadId"]
    copied = {"Bucket": bucket, "Key": "in parts", "UploadId": upload, "CopySource": f"{bucket}/whole"}
    ranges = [f"bytes=0-{len(PART) - 1}", f"bytes={len(PART)}-{len(PART) + 3}"]
    tags = [
        s3.upload_part_copy(PartNumber=number, CopySourceRange=part, **copied)["CopyPartResult"]["ETag"]
        for number, part in enumerate(ranges, 1)
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(Bucket=bucket, Key="in parts", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="in parts")["Body"].read() == PART + b"rest"
    with pytest.raises(ClientError) as refused:
        s3.upload_part_copy(PartNumber=1, CopySourceRange=ranges[0], **copied)
    assert failure(refused) == (404, "NoSuchUpload")


def test_a_bucket_of_another_region_is_found_by_the_sdk(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html"""
    name = unique("ireland")
    ireland, virginia = local_aws.client("s3", region_name="eu-west-1"), local_aws.client("s3")
    ireland.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    upload = virginia.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    virginia.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)


def test_an_object_under_a_key_needs_the_use_of_the_key(local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"""
    name, root = unique("encrypted"), local_aws.client("s3")
    key = local_aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    root.create_bucket(Bucket=name)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    root.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        },
    )
    root.put_object(Bucket=name, Key="a", Body=b"secret")
    objects = allow("s3:*", "*")
    without = local_aws.client_as(make_role(local_aws, objects), "s3")
    with pytest.raises(ClientError, match="kms:Decrypt on resource"):
        without.get_object(Bucket=name, Key="a")
    with pytest.raises(ClientError, match="kms:GenerateDataKey on resource"):
        without.put_object(Bucket=name, Key="b")
    with pytest.raises(ClientError, match="kms:GenerateDataKey on resource"):
        without.create_multipart_upload(Bucket=name, Key="b")
    entitled = local_aws.client_as(
        make_role(local_aws, objects, allow(["kms:Decrypt", "kms:GenerateDataKey"], key)), "s3"
    )
    assert entitled.get_object(Bucket=name, Key="a")["Body"].read() == b"secret"
    assert entitled.put_object(Bucket=name, Key="b")["SSEKMSKeyId"] == key
    generates = local_aws.client_as(make_role(local_aws, objects, allow("kms:GenerateDataKey", key)), "s3")
    upload = generates.create_multipart_upload(Bucket=name, Key="c")["UploadId"]
    with pytest.raises(ClientError, match="kms:Decrypt on resource"):
        generates.upload_part_copy(Bucket=name, Key="c", UploadId=upload, PartNumber=1, CopySource=f"{name}/a")


def test_a_range_of_a_version_is_answered_alone(s3: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""
    version = s3.put_object(Bucket=bucket, Key="ranged", Body=b"hello world")["VersionId"]
    s3.put_object(Bucket=bucket, Key="ranged", Body=b"replaced since then")
    answer = s3.get_object(Bucket=bucket, Key="ranged", VersionId=version, Range="bytes=6-99")
    assert (answer["ContentRange"], answer["Body"].read()) == ("bytes 6-10/11", b"world")
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=bucket, Key="ranged", VersionId=version, Range="bytes=11-")
    assert failure(refused) == (416, "InvalidRange")
