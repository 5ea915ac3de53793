"""AWS X-Ray, behind ``row_batches.run.traces.SegmentSink``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foundation.aws.errors import translated
from foundation.errors import BatchProcessorError, ServiceUnavailableError
from foundation.ports import Clock

MOST_DOCUMENTS = 50
"""The most documents in one PutTraceSegments, as the X-Ray daemon sends them
(https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon.html)."""
AWAY_SECONDS = 60
"""After a failure nothing is sent for this long: while X-Ray is away, it costs a process one attempt a minute."""


class XraySegments:
    """``make_client`` is called before the first write: only batches with traces need the client."""

    def __init__(self, make_client: Callable[[], Any], clock: Clock) -> None:
        self._make_client = make_client
        self._clock = clock
        self._client: Any = None
        self._away_until_ms = 0
        self._failure = ""

    def put(self, documents: Sequence[str]) -> None:
        if self._clock.now_ms() < self._away_until_ms:
            raise ServiceUnavailableError(self._failure)
        try:
            for start in range(0, len(documents), MOST_DOCUMENTS):
                self._put(documents[start : start + MOST_DOCUMENTS])
        except BatchProcessorError as error:
            self._failure = str(error)
            self._away_until_ms = self._clock.now_ms() + AWAY_SECONDS * 1000
            raise

    def _put(self, documents: Sequence[str]) -> None:
        with translated("xray:PutTraceSegments", "X-Ray"):
            self._client = self._client or self._make_client()
            answer = self._client.put_trace_segments(TraceSegmentDocuments=list(documents))
        unprocessed = answer.get("UnprocessedTraceSegments", [])
        if unprocessed:
            first = unprocessed[0]
            raise ServiceUnavailableError(
                f"xray:PutTraceSegments left {len(unprocessed):,} documents: "
                f"{first.get('ErrorCode', '')}: {first.get('Message', '')}"
            )
