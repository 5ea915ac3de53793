"""Users' buckets that results are copied to, on S3, behind ``row_batches.files.ports.OutputObjects``.

S3 copies on its own side, so no byte passes through the function. Objects get the bucket's own default encryption.

* Permissions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
* Copies up to 5 GB: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
* Larger ones, part by part: https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
* Tags of a copy: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html. They are left out, because
  writing them takes a permission of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from foundation.aws.errors import AWS_ERRORS, DENIED, error_code, message_of, translate, translated
from foundation.aws.s3 import NO_UPLOAD, object_fields
from foundation.errors import BatchProcessorError, DeliveryError, ObjectNotFoundError, PermanentError
from row_batches.document.s3_location import S3Location

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef

FUNCTIONS = "the roles of validate-input and aggregate-results"
OTHER_REGION = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
"""Codes for a bucket in another region (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""


class S3OutputObjects:
    """Copies objects of ``bucket``, the results bucket, to buckets of users.

    ``client`` is called at its first use. ``writer`` names, for messages, the roles that need the permissions.
    """

    def __init__(self, client: Callable[[], S3Client], bucket: str, writer: str = FUNCTIONS) -> None:
        self._client = client
        self._bucket = bucket
        self._writer = writer

    def try_upload(self, place: S3Location) -> None:
        self.abort_upload(place, self.start_upload(place))

    def put(self, place: S3Location, body: bytes) -> None:
        with self._writing("s3:PutObject", place):
            self._client().put_object(Bucket=place.bucket, Key=place.key, Body=body, **object_fields(place.key))  # type: ignore[arg-type]

    def size(self, key: str) -> int:
        with translated("s3:GetObject", f"s3://{self._bucket}/{key}"):
            return self._client().head_object(Bucket=self._bucket, Key=key)["ContentLength"]

    def copy(self, key: str, place: S3Location) -> None:
        source: CopySourceTypeDef = {"Bucket": self._bucket, "Key": key}
        with self._writing("s3:PutObject", place):
            self._client().copy_object(
                Bucket=place.bucket, Key=place.key, CopySource=source, TaggingDirective="REPLACE"
            )

    def start_upload(self, place: S3Location) -> str:
        with self._writing("s3:PutObject", place):
            answer = self._client().create_multipart_upload(
                Bucket=place.bucket,
                Key=place.key,
                **object_fields(place.key),  # type: ignore[arg-type]
            )
        return answer["UploadId"]

    def copy_part(self, key: str, place: S3Location, upload_id: str, number: int, first: int, end: int) -> str:
        with self._writing("s3:PutObject", place):
            answer = self._client().upload_part_copy(
                Bucket=place.bucket,
                Key=place.key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": key},
                CopySourceRange=f"bytes={first}-{end - 1}",
            )
        return answer["CopyPartResult"]["ETag"]

    def abort_upload(self, place: S3Location, upload_id: str) -> None:
        # The SDK repeats an abort whose answer was lost, and S3 then says that there is no such upload.
        with suppress(ObjectNotFoundError), self._writing("s3:AbortMultipartUpload", place):
            self._client().abort_multipart_upload(Bucket=place.bucket, Key=place.key, UploadId=upload_id)

    def complete_upload(self, place: S3Location, upload_id: str, etags: list[str]) -> None:
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)
        ]
        with self._writing("s3:PutObject", place):
            self._client().complete_multipart_upload(
                Bucket=place.bucket,
                Key=place.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )

    @contextmanager
    def _writing(self, action: str, place: S3Location) -> Iterator[None]:
        try:
            yield
        except AWS_ERRORS as error:
            raise _refusal(error, action, place, self._writer) from error


def _refusal(error: ClientError | BotoCoreError, action: str, place: S3Location, writer: str) -> BatchProcessorError:
    code = error_code(error)
    if code == NO_UPLOAD:
        return ObjectNotFoundError(f"The upload no longer exists: {place.uri}.")
    if code == "NoSuchBucket":
        return DeliveryError("the bucket does not exist", "create the bucket, or correct its name")
    said = f"{code}: {message_of(error)}".rstrip(".")
    if code.startswith("KMS.") or (code in DENIED and "kms:" in said):
        return DeliveryError(
            f"the KMS key of the bucket refuses it ({said})",
            f"add the key to the Terraform variable output_kms_key_arns, and allow kms:GenerateDataKey and "
            f"kms:Decrypt to {writer} in the key's policy",
        )
    if code in DENIED:
        return DeliveryError(f"{action} is denied ({said})", f"allow {action} to {writer} in the bucket's policy")
    if code in OTHER_REGION:
        return DeliveryError(f"the bucket is in another region ({said})", "choose a bucket in the deployment's region")
    translated_error = translate(error, action, place.uri)
    if isinstance(translated_error, PermanentError):
        return DeliveryError(f"S3 refuses it ({said})", "correct the settings of the bucket, or choose another one")
    return translated_error
