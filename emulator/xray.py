"""X-Ray of the local AWS: takes segment documents and gives traces back. MiniStack has none.

* PutTraceSegments: https://docs.aws.amazon.com/xray/latest/api/API_PutTraceSegments.html
* Documents: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
* GetTraceSummaries: https://docs.aws.amazon.com/xray/latest/api/API_GetTraceSummaries.html
* BatchGetTraces: https://docs.aws.amazon.com/xray/latest/api/API_BatchGetTraces.html
* Annotations: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-annotations
* Quotas: https://docs.aws.amazon.com/general/latest/gr/xray.html

Any other operation is refused, and so is a filter expression that is not one comparison of an annotation. AWS does not
list the codes of documents that it leaves unprocessed; the ones here are its own words for a document that it cannot
read and for one with a wrong field.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeGuard

from ministack import app
from ministack.core import iam_actions, responses, router

MOST_DOCUMENT_BYTES = 64 * 1024
MOST_TRACE_BYTES = 500 * 1024
MOST_ANNOTATIONS = 50
MOST_ANNOTATION_CHARACTERS = 1_000
KEPT_SECONDS = 30 * 86_400
CLOCK_SKEW_SECONDS = 600
ID = re.compile(r"[0-9a-f]{16}")
TRACE_ID = re.compile(r"1-([0-9a-f]{8})-[0-9a-f]{24}")
NAME = re.compile(r"[\w\s.:/%&#=+\\\-@]{1,200}")
KEY = re.compile(r"[A-Za-z0-9_]{1,500}")
FILTER = re.compile(r'annotation\.(\w+) = ("[^"]*"|-?\d+(?:\.\d+)?|true|false)')

Answer = tuple[int, dict[str, str], bytes]
Place = tuple[str, str]

_traces: dict[Place, dict[str, dict[str, dict[str, Any]]]] = {}
"""By account and region, by trace, by segment: the documents in the order of their arrival."""
_lock = threading.Lock()


class RefusedError(Exception):
    """Raised for a document that is no segment as AWS documents it."""

    def __init__(self, code: str, message: str, segment: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.segment = segment


def number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_part(part: Any, refuse: Any) -> None:
    """The fields that segments and subsegments share, including embedded ones."""
    if not isinstance(part, dict):
        raise refuse("a segment is not an object")
    if not isinstance(part.get("id"), str) or not ID.fullmatch(part["id"]):
        raise refuse("id must have 16 hexadecimal digits")
    if not isinstance(part.get("name"), str) or not NAME.fullmatch(part["name"]):
        raise refuse("name must have 1 to 200 letters, digits, white space or _.:/%&#=+\\-@")
    if not number(part.get("start_time")):
        raise refuse("start_time must be a number")
    if part.get("in_progress") is True:
        if "end_time" in part:
            raise refuse("a segment has either end_time or in_progress")
    elif not number(part.get("end_time")) or part["end_time"] < part["start_time"]:
        raise refuse("end_time must be a number that is not before start_time")
    for flag in ("error", "fault", "throttle"):
        if not isinstance(part.get(flag, False), bool):
            raise refuse(f"{flag} must be a boolean")
    annotations = part.get("annotations", {})
    if not isinstance(annotations, dict) or not isinstance(part.get("metadata", {}), dict):
        raise refuse("annotations and metadata must be objects")
    for key, value in annotations.items():
        if not KEY.fullmatch(key) or not (isinstance(value, str | bool) or number(value)):
            raise refuse("annotations have keys of letters, digits and _, and values that are text, number or boolean")
        if isinstance(value, str) and len(value) > MOST_ANNOTATION_CHARACTERS:
            raise refuse("an annotation has up to 1,000 characters")
    embedded = part.get("subsegments", [])
    if not isinstance(embedded, list):
        raise refuse("subsegments must be an array")
    for inner in embedded:
        check_part(inner, refuse)


def read_document(text: Any, now: float) -> dict[str, Any]:
    """The segment of a document. Raises ``RefusedError``."""
    if not isinstance(text, str) or len(text.encode()) > MOST_DOCUMENT_BYTES:
        raise RefusedError("InvalidSegment", "a document is a text of up to 64 KB")
    try:
        segment: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise RefusedError("ParseError", "a document is not JSON") from error
    named = str(segment.get("id", "")) if isinstance(segment, dict) else ""

    def refuse(message: str) -> RefusedError:
        return RefusedError("InvalidSegment", message, named)

    check_part(segment, refuse)
    found = TRACE_ID.fullmatch(str(segment.get("trace_id", "")))
    if found is None:
        raise refuse("trace_id must be 1-<8 hexadecimal digits>-<24 hexadecimal digits>")
    if not now - KEPT_SECONDS <= int(found.group(1), 16) <= now + CLOCK_SKEW_SECONDS:
        raise refuse("the time in trace_id is in the future, or more than 30 days ago")
    if segment.get("type") == "subsegment":
        if not isinstance(segment.get("parent_id"), str) or not ID.fullmatch(segment["parent_id"]):
            raise refuse("a subsegment that is sent alone has a parent_id")
    elif "type" in segment:
        raise refuse("type must be subsegment")
    return segment


def put_trace_segments(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    documents = request.get("TraceSegmentDocuments")
    if not isinstance(documents, list):
        raise RefusedError("InvalidRequestException", "TraceSegmentDocuments is missing")
    unprocessed = []
    for text in documents:
        try:
            segment = read_document(text, time.time())
            trace = _traces.setdefault(place, {}).setdefault(segment["trace_id"], {})
            if size_of(trace) + len(text) > MOST_TRACE_BYTES:
                raise RefusedError("InvalidSegment", "the trace has reached its maximum size", segment["id"])
            trace[segment["id"]] = segment
        except RefusedError as error:
            unprocessed.append({"Id": error.segment, "ErrorCode": error.code, "Message": str(error)})
    return {"UnprocessedTraceSegments": unprocessed}


def size_of(trace: dict[str, dict[str, Any]]) -> int:
    return sum(len(json.dumps(segment)) for segment in trace.values())


def parts_of(segment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield segment
    for inner in segment.get("subsegments", []):
        yield from parts_of(inner)


def annotations_of(trace: dict[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    """The annotations that are indexed: the first 50 of the trace."""
    parts = (part for segment in trace.values() for part in parts_of(segment))
    return [pair for part in parts for pair in part.get("annotations", {}).items()][:MOST_ANNOTATIONS]


def typed(value: Any) -> dict[str, Any]:
    kind = "BooleanValue" if isinstance(value, bool) else "StringValue" if isinstance(value, str) else "NumberValue"
    return {kind: value}


def get_trace_summaries(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    start, end = request.get("StartTime"), request.get("EndTime")
    if not number(start) or not number(end) or start > end:
        raise RefusedError("InvalidRequestException", "StartTime and EndTime are required, in this order")
    expression = request.get("FilterExpression") or ""
    wanted = FILTER.fullmatch(expression)
    if expression and wanted is None:
        raise RefusedError("InvalidRequestException", f"the local AWS cannot filter by {expression}")
    summaries = []
    for trace_id, trace in _traces.get(place, {}).items():
        annotations = annotations_of(trace)
        if wanted is not None and (wanted.group(1), json.loads(wanted.group(2))) not in annotations:
            continue
        if not start <= int(trace_id.split("-")[1], 16) <= end:
            continue
        values: dict[str, list[Any]] = {}
        for key, value in annotations:
            values.setdefault(key, []).append({"AnnotationValue": typed(value)})
        parts = [part for segment in trace.values() for part in parts_of(segment)]
        flags = {f"Has{flag.capitalize()}": any(part.get(flag) for part in parts) for flag in ("fault", "throttle")}
        summaries.append({"Id": trace_id, "Annotations": values, **flags})
    return {"TraceSummaries": summaries, "TracesProcessedCount": len(_traces.get(place, {}))}


def batch_get_traces(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    ids = request.get("TraceIds")
    if not isinstance(ids, list):
        raise RefusedError("InvalidRequestException", "TraceIds is missing")
    known = _traces.get(place, {})
    traces = [
        {
            "Id": trace_id,
            "LimitExceeded": False,
            "Segments": [{"Id": name, "Document": json.dumps(part)} for name, part in known[trace_id].items()],
        }
        for trace_id in ids
        if trace_id in known
    ]
    return {"Traces": traces, "UnprocessedTraceIds": [trace_id for trace_id in ids if trace_id not in known]}


OPERATIONS = {
    "/TraceSegments": put_trace_segments,
    "/TraceSummaries": get_trace_summaries,
    "/Traces": batch_get_traces,
}


async def handle_request(
    method: str, path: str, _headers: dict[str, str], body: bytes, _query_params: dict[str, Any]
) -> Answer:
    operation = OPERATIONS.get(path) if method == "POST" else None
    if operation is None:
        return answer(404, {"message": f"The local AWS has no {method} {path} of X-Ray."}, "UnknownOperationException")
    try:
        request = json.loads(body or b"{}")
        with _lock:
            return answer(200, operation((responses.get_account_id(), responses.get_region()), request))
    except RefusedError as error:
        return answer(400, {"message": str(error)}, error.code)
    except ValueError:
        return answer(400, {"message": "The body is not JSON."}, "InvalidRequestException")


def answer(status: int, body: dict[str, Any], error: str = "") -> Answer:
    headers = {"Content-Type": "application/json"}
    return status, headers | ({"x-amzn-errortype": error} if error else {}), json.dumps(body).encode()


def install() -> None:
    """Serve X-Ray, with each operation checked as ``xray:<operation>`` on ``*``."""
    router.SERVICE_PATTERNS["xray"] = {"host_patterns": [r"xray\."], "credential_scope": "xray"}
    iam_actions.SERVICE_TO_IAM_NAMESPACE["xray"] = "xray"
    iam_actions._BOTOCORE_SERVICE_MAP["xray"] = ["xray"]
    app.SERVICE_HANDLERS["xray"] = handle_request
