"""Checks permissions that MiniStack does not check, and words denials as AWS does.

* Message: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
* Actions and resources: https://docs.aws.amazon.com/service-authorization/latest/reference/
* Tags of a copy: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
* Objects under a KMS key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html and
  https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
"""

from __future__ import annotations

import contextvars
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb, kms, s3, stepfunctions, sts

BATCH_ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sns:PublishBatch": "sns:Publish",
}
"""A batch call is authorised as the single action; the batch has no permission of its own."""

KMS_KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
SUBRESOURCES = frozenset({"tagging", "acl", "retention", "legal-hold"})
Checks = list[tuple[str, str]]

_denied: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("denied", default=("", ""))
"""The action and the resource that the last denial of this request was about."""


def single_actions(extract: Callable[..., str | None]) -> Callable[..., str | None]:
    def extract_iam_action(*arguments: Any, **options: Any) -> str | None:
        action = extract(*arguments, **options)
        return BATCH_ACTIONS.get(action, action) if action else action

    return extract_iam_action


def qualified_functions(extract: Callable[..., str]) -> Callable[..., str]:
    """`Qualifier=3` addresses `function:name:3`, as a qualified ARN does.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html
    """

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        region: str,
        account_id: str,
    ) -> str:
        arn = extract(service, method, path, headers, body, query_params, region, account_id)
        if service == "lambda" and path.endswith("/invocations") and arn.count(":") == 6:
            qualifier = query_params.get("Qualifier")
            qualifier = qualifier[0] if isinstance(qualifier, list) else qualifier
            if qualifier and qualifier != "$LATEST":
                return f"{arn}:{qualifier}"
        return arn

    return extract_resource_arn


def states_resources(extract: Callable[..., str]) -> Callable[..., str]:
    """A task token represents the state machine whose task waits for it, and a map run itself.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html: SendTaskSuccess,
    DescribeMapRun, UpdateMapRun
    """

    def extract_resource_arn(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *others: Any
    ) -> str:
        operation = headers.get("x-amz-target", "").rpartition(".")[2] if service == "states" else ""
        if operation.startswith("SendTask"):
            pending = stepfunctions._task_tokens.get(json.loads(body or b"{}").get("taskToken")) or {}
            return str(pending.get("machine", "*"))
        if operation.endswith("MapRun"):
            return str(json.loads(body or b"{}").get("mapRunArn", "*"))
        return extract(service, method, path, headers, body, *others)

    return extract_resource_arn


def recording_denials(enforce: Callable[..., Any]) -> Callable[..., Any]:
    """Remember what was denied, and check KMS actions against the key's own policy."""

    def enforced(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        if iam_action.startswith("kms:") and service != "kms":
            service_context = {**(service_context or {}), "kms:ViaService": f"{service}.{region}.amazonaws.com"}
            service = "kms"
        denied = enforce(access_key_id, iam_action, service, region, resource_arn, service_context)
        if denied:
            _denied.set((iam_action, resource_arn))
        return denied

    return enforced


def naming_the_resource(respond: Callable[..., Any]) -> Callable[..., Any]:
    """Word a denial with the resource, quoted by S3 as S3 does."""

    def access_denied_response(service: str, action: str, principal_arn: str, request_id: str, **options: Any) -> Any:
        by_identity = not (options.get("explicit_deny") and options.get("resource_policy_arn"))
        denied_action, denied_resource = _denied.get()
        action, resource = denied_action or action, denied_resource or options.get("resource_arn", "*")
        if not options.get("message") and not options.get("error_code") and by_identity and resource != "*":
            named = f'"{resource}"' if service == "s3" and not action.startswith("kms:") else resource
            options["message"] = iam_actions.identity_denial_message(
                action, principal_arn, named, bool(options.get("explicit_deny"))
            )
        return respond(service, action, principal_arn, request_id, **options)

    return access_denied_response


def key_of(sse_headers: dict[str, str]) -> str:
    """The ARN of the KMS key that the headers of an object or a bucket name, or nothing."""
    if sse_headers.get("x-amz-server-side-encryption") != "aws:kms":
        return ""
    key = sse_headers.get(KMS_KEY_HEADER, "")
    if key and not key.startswith("arn:"):
        record = kms._resolve_key(key)
        key = record["Arn"] if record else ""
    return key


def written_key(bucket: str, headers: dict[str, str]) -> str:
    if headers.get("x-amz-server-side-encryption"):
        return key_of(headers)
    return key_of(dict(s3._bucket_default_sse_headers(bucket)))


def stored_key(bucket: str, key: str) -> str:
    found = (s3._buckets.get(bucket) or {}).get("objects", {}).get(key)
    return key_of(s3._stored_sse_headers(found)) if found else ""


def tagged(bucket: str, key: str) -> bool:
    """Whether the object's current version has tags, which a copy takes over unless it is told otherwise."""
    found = (s3._buckets.get(bucket) or {}).get("objects", {}).get(key)
    return found is not None and bool(s3._object_tags.get((bucket, key, found.get("version_id"))))


def object_checks(method: str, path: str, headers: dict[str, str], query_params: dict[str, Any]) -> Checks:
    """The further actions that a request on one object needs: tagging, and the use of the key."""
    bucket, _, key = path.lstrip("/").partition("/")
    if not key or bucket not in s3._buckets:
        return []
    checks: Checks = []
    starts_upload = method == "POST" and "uploads" in query_params
    in_upload = "uploadId" in query_params
    writes = (method == "PUT" and not set(query_params) & SUBRESOURCES) or starts_upload
    if writes and headers.get("x-amz-tagging"):
        checks.append(("s3:PutObjectTagging", f"arn:aws:s3:::{bucket}/{key}"))
    if in_upload:
        upload_id = query_params["uploadId"]
        upload = s3._multipart_uploads.get(upload_id[0] if isinstance(upload_id, list) else upload_id) or {}
        used = key_of(upload.get("preserved_headers", {}))
        if used and method in ("PUT", "POST"):
            checks.append(("kms:Decrypt", used))
            if method == "PUT":
                checks.append(("kms:GenerateDataKey", used))
    elif writes:
        if used := written_key(bucket, headers):
            checks.append(("kms:GenerateDataKey", used))
    elif (
        method == "GET" and not set(query_params) & {*SUBRESOURCES, "attributes"} and (used := stored_key(bucket, key))
    ):
        checks.append(("kms:Decrypt", used))
    source = unquote(headers.get("x-amz-copy-source", "").lstrip("/").split("?")[0])
    if writes and source:
        source_bucket, _, source_key = source.partition("/")
        if used := stored_key(source_bucket, source_key):
            checks.append(("kms:Decrypt", used))
        if not in_upload and headers.get("x-amz-tagging-directive", "COPY") == "COPY" and tagged(*source.split("/", 1)):
            checks.append(("s3:GetObjectTagging", f"arn:aws:s3:::{source}"))
            checks.append(("s3:PutObjectTagging", f"arn:aws:s3:::{bucket}/{key}"))
    return checks


def with_object_checks(additional: Callable[..., Checks]) -> Callable[..., Checks]:
    def s3_additional_checks(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Checks:
        checks = list(additional(method, path, headers, body, query_params))
        return checks + object_checks(method, unquote(path), headers, query_params)

    return s3_additional_checks


def over_tls(resolve: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Treat loopback as TLS, as AWS's endpoints use it. Otherwise a bucket policy that requires TLS refuses everything.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-securetransport
    """

    def resolve_condition_key(key: str, context: Any) -> Any:
        return "true" if key.lower() == "aws:securetransport" else resolve(key, context)

    return resolve_condition_key


def with_leading_keys(context_of: Callable[[bytes], dict[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """Add `dynamodb:LeadingKeys`: the partition keys of the items that a request names.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """

    def dynamodb_service_context(body: bytes) -> dict[str, Any]:
        context = context_of(body)
        try:
            keys = list(leading_keys(json.loads(body or b"{}")))
        except (ValueError, TypeError, KeyError, AttributeError):  # a malformed request is refused later
            return context
        return {**context, "dynamodb:LeadingKeys": keys} if keys else context

    return dynamodb_service_context


def leading_keys(request: dict[str, Any]) -> Iterator[str]:
    """The partition keys in a request to DynamoDB. A Scan has none."""
    if "KeyConditionExpression" in request:
        yield from queried_keys(request)
        return
    items = [(request.get("TableName"), request.get("Key") or request.get("Item"))]
    for table, asked in request.get("RequestItems", {}).items():
        writes = asked if isinstance(asked, list) else []
        items += [(table, change.get("Item") or change.get("Key")) for write in writes for change in write.values()]
        items += [(table, key) for key in (asked.get("Keys", []) if isinstance(asked, dict) else [])]
    for part in request.get("TransactItems", []):
        items += [(change["TableName"], change.get("Item") or change.get("Key")) for change in part.values()]
    for table, item in items:
        if table and item:
            yield key_text(item[partition_key(table)])


def queried_keys(request: dict[str, Any]) -> Iterator[str]:
    name = partition_key(request["TableName"], request.get("IndexName"))
    names, values = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
    for left, right in re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", request["KeyConditionExpression"]):
        if names.get(left, left) == name:
            yield key_text(values[right])


def partition_key(table: str, index: str | None = None) -> str:
    """The name of the partition key. Raises KeyError for a table or an index that does not exist."""
    found = dynamodb._tables[table.rpartition("/")[2]]
    if index is None:
        return str(found["pk_name"])
    indexes = [*found["GlobalSecondaryIndexes"], *found["LocalSecondaryIndexes"]]
    keys = {each["IndexName"]: each["KeySchema"] for each in indexes}[index]
    return next(str(key["AttributeName"]) for key in keys if key["KeyType"] == "HASH")


def key_text(value: dict[str, Any]) -> str:
    return str(next(iter(value.values())))


def parsed_once(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache parsed policies by their text, because MiniStack parses each policy twice for every request."""
    parse_text = lru_cache(maxsize=4096)(parse)

    def parse_policy_document(document: Any) -> Any:
        return list(parse_text(document)) if isinstance(document, str) else parse(document)

    return parse_policy_document


def drop_expired_sessions() -> None:
    """Remove expired sessions. It iterates over a copy, because other threads add sessions meanwhile."""
    for access_key, session in list(sts._sessions.items()):
        if sts._session_expired(session):
            sts._sessions.pop(access_key, None)


def install() -> None:
    """Check every permission that AWS checks, and name the resource in each denial."""
    iam_evaluator._resolve_condition_key = over_tls(iam_evaluator._resolve_condition_key)
    iam_actions.extract_iam_action = single_actions(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = states_resources(qualified_functions(iam_actions.extract_resource_arn))
    iam_actions.access_denied_response = naming_the_resource(iam_actions.access_denied_response)
    iam_actions.s3_additional_checks = with_object_checks(iam_actions.s3_additional_checks)
    iam_actions.dynamodb_service_context = with_leading_keys(iam_actions.dynamodb_service_context)
    iam_evaluator.enforce = recording_denials(iam_evaluator.enforce)
    iam_evaluator.parse_policy_document = parsed_once(iam_evaluator.parse_policy_document)
    sts._evict_expired_sessions = drop_expired_sessions
