"""S3's rules for multipart uploads, ranges and listings, and for missing objects that the caller cannot list.

* Parts: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
* Tags of an upload: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
* Ranges: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
* Keys in listings: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html (encoding-type)
* 403 or 404: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote_plus
from xml.etree.ElementTree import SubElement

from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from ministack.core import iam_actions, iam_evaluator, responses, router
from ministack.services import s3

SMALLEST_PART_BYTES = 5 * 1024 * 1024
ENCODED_IN_LISTINGS = frozenset({"Delimiter", "Key", "KeyMarker", "NextKeyMarker", "Prefix"})
DEFAULT_CONTENT_TYPE = "binary/octet-stream"

Answer = tuple[Any, ...]


def named_parts(body: bytes) -> list[int]:
    """The part numbers of a CompleteMultipartUpload document, in its order."""
    try:
        root = fromstring(body)
    except ParseError:
        return []
    parts = (element for element in root if element.tag.rpartition("}")[2] == "Part")
    return [int(child.text or 0) for part in parts for child in part if child.tag.rpartition("}")[2] == "PartNumber"]


def refused_parts(numbers: list[int], upload: dict[str, Any], resource: str) -> Answer | None:
    """The error for parts that S3 refuses to join, or None."""
    if not numbers:
        message = "The XML you provided was not well-formed or did not validate against our published schema"
        return s3._error("MalformedXML", message, 400, resource)  # type: ignore[no-any-return]
    if numbers != sorted(set(numbers)):
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        return s3._error("InvalidPartOrder", message, 400, resource)  # type: ignore[no-any-return]
    for number in numbers[:-1]:
        part = upload["parts"].get(number)
        if part is not None and len(part["body"]) < SMALLEST_PART_BYTES:
            message = "Your proposed upload is smaller than the minimum allowed size"
            sizes = {
                "ProposedSize": str(len(part["body"])),
                "MinSizeAllowed": str(SMALLEST_PART_BYTES),
                "PartNumber": str(number),
                "ETag": part["etag"].strip('"'),
            }
            return s3._error("EntityTooSmall", message, 400, resource, extra=sizes)  # type: ignore[no-any-return]
    return None


def checked_completion(complete: Callable[..., Answer]) -> Callable[..., Answer]:
    """Refuse small or misordered parts, and give the object the tags of its upload."""

    def complete_multipart_upload(
        bucket_name: str, key: str, body: bytes, query_params: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Answer:
        upload = s3._multipart_uploads.get(s3._qp(query_params, "uploadId"))
        if upload is None or (upload["bucket"], upload["key"]) != (bucket_name, key):
            return complete(bucket_name, key, body, query_params, headers)
        refused = refused_parts(named_parts(body), upload, f"/{bucket_name}/{key}")
        if refused is not None:
            return refused
        answer = complete(bucket_name, key, body, query_params, headers)
        if answer[0] == 200 and upload.get("tags"):
            s3._object_tags[(bucket_name, key, answer[1].get("x-amz-version-id"))] = upload["tags"]
        return answer

    return complete_multipart_upload


def tagged_creation(create: Callable[..., Answer]) -> Callable[..., Answer]:
    """Keep the tags that CreateMultipartUpload names for the object."""

    def create_multipart_upload(bucket_name: str, key: str, headers: dict[str, str]) -> Answer:
        answer = create(bucket_name, key, headers)
        if answer[0] == 200 and headers.get("x-amz-tagging"):
            upload_id = fromstring(answer[2]).findtext("{*}UploadId")
            tags = dict(parse_qsl(headers["x-amz-tagging"], keep_blank_values=True))
            s3._multipart_uploads[upload_id]["tags"] = tags
        return answer

    return create_multipart_upload


def hiding_what_may_not_be_listed(handle: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    """Answer 404 for a missing object if the caller has `s3:ListBucket`, else 403."""

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any], **options: Any
    ) -> Answer:
        answer = await handle(method, path, headers, body, query_params, **options)
        if answer[0] != 404 or method not in ("GET", "HEAD") or options.get("internal"):
            return answer
        bucket, key = s3._parse_bucket_key(path, headers)
        access_key = router.extract_access_key_id(headers, query_params)
        if not key or not access_key or bucket not in s3._buckets or "uploadId" in query_params:
            return answer
        arn = f"arn:aws:s3:::{bucket}"
        region = router.extract_region(headers, query_params)
        denied = iam_evaluator.enforce(access_key, "s3:ListBucket", "s3", region, resource_arn=arn)
        if not denied or isinstance(denied, iam_evaluator.AuthError):
            return answer
        refusal = iam_actions.access_denied_response(
            "s3",
            "s3:ListBucket",
            denied.principal_arn,
            responses.new_uuid(),
            headers=headers,
            resource_arn=arn,
            explicit_deny=denied.decision == "Deny",
            resource_policy_arn=denied.resource_policy_arn,
        )
        return refusal if method == "GET" else (refusal[0], refusal[1], b"")

    return handle_request


def ranges_of_versions(get: Callable[..., Answer]) -> Callable[..., Answer]:
    """Answer `Range` also for a named version, for which MiniStack sends the whole object."""

    def get_object(
        bucket_name: str, key: str, headers: dict[str, str], query_params: dict[str, Any] | None = None
    ) -> Answer:
        wanted = headers.get("range", "")
        if not wanted or not s3._qp(query_params or {}, "versionId", ""):
            return get(bucket_name, key, headers, query_params)
        # S3 sends no checksum with a range, because the checksum is that of the whole object.
        headers = {name: value for name, value in headers.items() if name != "x-amz-checksum-mode"}
        status, answered, body = get(bucket_name, key, headers, query_params)
        if status != 200:
            return status, answered, body
        found = s3._parse_range(wanted, len(body))
        if found is None:
            sized = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, sized, s3._xml_body(s3._range_error_xml(bucket_name, key))
        first, last = found
        part = body[first : last + 1]
        sized = {"Content-Range": f"bytes {first}-{last}/{len(body)}", "Content-Length": str(len(part))}
        return 206, {**answered, **sized}, part

    return get_object


def encoded(text: str) -> str:
    """A key as in listings with `encoding-type=url`: a blank becomes a plus, a slash stays."""
    return quote_plus(text, safe="/*").replace("~", "%7E")


def checked_encoding(list_keys: Callable[..., Answer]) -> Callable[..., Answer]:
    """Refuse an encoding that S3 does not know."""

    def listing(bucket_name: str, query_params: dict[str, Any]) -> Answer:
        if s3._qp(query_params, "encoding-type", "") not in ("", "url"):
            message = "Invalid Encoding Method specified in Request"
            return s3._error("InvalidArgument", message, 400, f"/{bucket_name}")  # type: ignore[no-any-return]
        return list_keys(bucket_name, query_params)

    return listing


def with_encoded_keys(list_keys: Callable[..., Answer]) -> Callable[..., Answer]:
    """Encode the keys of a listing when asked to, where MiniStack never does."""

    def listing(bucket_name: str, query_params: dict[str, Any]) -> Answer:
        status, headers, body = list_keys(bucket_name, query_params)
        if status != 200 or not s3._qp(query_params, "encoding-type", ""):
            return status, headers, body
        root = fromstring(body)
        for element in root.iter():
            if element.tag.rpartition("}")[2] in ENCODED_IN_LISTINGS and element.text:
                element.text = encoded(element.text)
        SubElement(root, f"{{{s3.S3_NS}}}EncodingType").text = "url"
        return status, headers, s3._xml_body(root)

    return listing


def resuming_after_null(list_versions: Callable[..., Answer]) -> Callable[..., Answer]:
    """Continue after an object without versions, which MiniStack lists again and again."""

    def listing(bucket_name: str, query_params: dict[str, Any]) -> Answer:
        after = (bucket_name, s3._qp(query_params, "key-marker", ""))
        if s3._qp(query_params, "version-id-marker", "") == "null" and not s3._object_versions.get(after):
            query_params = {name: value for name, value in query_params.items() if name != "version-id-marker"}
        return list_versions(bucket_name, query_params)

    return listing


def with_content_type(handle: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    """Give an object that is stored without a content type S3's default."""

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any], **options: Any
    ) -> Answer:
        creating = method == "PUT" or (method == "POST" and "uploads" in query_params)
        if creating and "content-type" not in headers and "x-amz-copy-source" not in headers:
            headers = {**headers, "content-type": DEFAULT_CONTENT_TYPE}
        return await handle(method, path, headers, body, query_params, **options)

    return handle_request


def install() -> None:
    """Apply S3's rules."""
    s3._url_encode = encoded
    s3._list_objects_v1 = checked_encoding(s3._list_objects_v1)
    s3._list_objects_v2 = checked_encoding(s3._list_objects_v2)
    s3._list_object_versions = checked_encoding(with_encoded_keys(resuming_after_null(s3._list_object_versions)))
    s3._list_multipart_uploads = checked_encoding(with_encoded_keys(s3._list_multipart_uploads))
    s3._get_object = ranges_of_versions(s3._get_object)
    s3._complete_multipart_upload = checked_completion(s3._complete_multipart_upload)
    s3._create_multipart_upload = tagged_creation(s3._create_multipart_upload)
    s3.handle_request = with_content_type(hiding_what_may_not_be_listed(s3.handle_request))
