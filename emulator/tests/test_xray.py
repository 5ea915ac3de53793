"""X-Ray takes what AWS documents as a segment, and gives it back by its annotations."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.testing import LocalAws
from emulator.tests.resources import allow, make_role, unique

ROOT = "70de5b6f19ff9a0a"


def segment(**changes: Any) -> dict[str, Any]:
    now = time.time()
    given = {"name": "worker", "id": ROOT, "trace_id": f"1-{int(now):08x}-{'a' * 24}", "start_time": now - 1}
    given["end_time"] = now
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


@pytest.fixture
def xray(local_aws: LocalAws) -> Any:
    return local_aws.client("xray")


def put(xray: Any, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    answer = xray.put_trace_segments(TraceSegmentDocuments=[json.dumps(document) for document in documents])
    return list(answer["UnprocessedTraceSegments"])


def test_a_trace_is_found_by_an_annotation_of_its_root_and_of_a_subsegment(xray: Any) -> None:
    """https://docs.aws.amazon.com/xray/latest/devguide/xray-api-gettingdata.html"""
    run, now = unique("run"), time.time()
    trace = f"1-{int(now):08x}-{'b' * 24}"
    part = segment(id="53995c3f42cd8ad8", trace_id=trace, type="subsegment", parent_id=ROOT, annotations={"row": 7})

    assert put(xray, segment(trace_id=trace, annotations={"execution": run}), part) == []

    found = xray.get_trace_summaries(
        StartTime=now - 60, EndTime=now + 60, FilterExpression=f'annotation.execution = "{run}"'
    )["TraceSummaries"]
    assert [summary["Id"] for summary in found] == [trace]
    assert found[0]["Annotations"]["row"][0]["AnnotationValue"] == {"NumberValue": 7.0}
    (whole,) = xray.batch_get_traces(TraceIds=[trace])["Traces"]
    assert [one["Id"] for one in whole["Segments"]] == [ROOT, "53995c3f42cd8ad8"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "70de"}, "16 hexadecimal digits"),
        ({"name": "what?"}, "name must have"),
        ({"name": "n" * 201}, "name must have"),
        ({"end_time": None}, "end_time"),
        ({"in_progress": True}, "either end_time or in_progress"),
        ({"trace_id": "1-1-2"}, "trace_id must be"),
        ({"trace_id": f"1-581cf771-{'a' * 24}"}, "30 days"),
        ({"type": "subsegment"}, "parent_id"),
        ({"annotations": {"a b": 1}}, "annotations have keys"),
        ({"annotations": {"row": [1]}}, "annotations have keys"),
        ({"subsegments": [{"name": "map"}]}, "16 hexadecimal digits"),
        ({"metadata": {"default": {"text": "x" * 65_536}}}, "64 KB"),
    ],
)
def test_a_document_that_is_no_segment_is_left_unprocessed_beside_the_others(
    xray: Any, changes: dict[str, Any], message: str
) -> None:
    (unprocessed,) = put(xray, segment(**changes), segment())
    assert message in unprocessed["Message"]


def test_what_is_not_json_is_left_unprocessed(xray: Any) -> None:
    (left,) = xray.put_trace_segments(TraceSegmentDocuments=["{"])["UnprocessedTraceSegments"]
    assert left["ErrorCode"] == "ParseError"


def test_an_operation_or_a_filter_that_is_not_there_is_refused(xray: Any) -> None:
    with pytest.raises(ClientError, match="UnknownOperation"):
        xray.get_groups()
    with pytest.raises(ClientError, match="InvalidRequestException"):
        xray.get_trace_summaries(StartTime=0, EndTime=1, FilterExpression="responsetime > 5")


def test_a_role_without_the_permission_is_denied_by_the_name_of_the_action(local_aws: LocalAws) -> None:
    reader = make_role(local_aws, allow("xray:GetTraceSummaries"))
    with pytest.raises(ClientError, match="xray:PutTraceSegments") as denied:
        put(local_aws.client_as(reader, "xray"), segment())
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    writer = make_role(local_aws, allow("xray:PutTraceSegments"))
    assert put(local_aws.client_as(writer, "xray"), segment()) == []
