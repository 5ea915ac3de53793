"""Cuts a job into parts by Bedrock's quotas: balanced, none below the minimum, in priority order.

The quotas differ by model and Region and can be raised, so they are configuration
(https://docs.aws.amazon.com/general/latest/gr/bedrock.html#limits_bedrock).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pydantic import ConfigDict, Field

from bedrock_batches.request.models import Model
from foundation.lazy_model import LazyModel


class Quotas(LazyModel):
    """Quotas of batch inference. Each part is one file and one Bedrock job, so the quotas of both apply to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_records: int = Field(100, ge=1)
    """If it is not given, the model's own minimum counts."""
    records_per_job: int = Field(50_000, ge=1)
    bytes_per_file: int = Field(1_000_000_000, ge=1)
    concurrent_jobs: int = Field(20, ge=1)

    def of(self, model: Model | None) -> Quotas:
        """The quotas of jobs on this model; the given ones for a model that is not known any more."""
        if model is None or "minimum_records" in self.model_fields_set:
            return self
        return self.model_copy(update={"minimum_records": model.minimum_records})


@dataclass(frozen=True)
class Span:
    """The records of one part: ``start`` to ``end`` (exclusive) of the job; ``number`` counts from 1."""

    number: int
    start: int
    end: int

    @property
    def count(self) -> int:
        return self.end - self.start


def cut(sizes: Sequence[int], quotas: Quotas) -> list[Span]:
    """Cut records of these sizes (bytes of their lines) into as few parts as the quotas allow.

    Sizes of parts differ by at most one record. If no cut gives each part its minimum, the last records, which have the
    lowest priority, are left for another job. With fewer records than the minimum there is no part at all.
    """
    ends = [0, *accumulate(sizes)]
    total = len(sizes)
    while total >= quotas.minimum_records:
        parts = -(-total // quotas.records_per_job)
        while total // parts >= quotas.minimum_records:
            bounds = _balanced(total, parts)
            if all(ends[end] - ends[start] <= quotas.bytes_per_file for start, end in bounds):
                return [Span(number, start, end) for number, (start, end) in enumerate(bounds, 1)]
            parts += 1
        total = _fewer(total, quotas)
    return []


def _balanced(total: int, parts: int) -> list[tuple[int, int]]:
    size, larger = divmod(total, parts)
    ends = list(accumulate(size + (index < larger) for index in range(parts)))
    return list(zip([0, *ends], ends, strict=False))


def _fewer(total: int, quotas: Quotas) -> int:
    """The next smaller number of records to try: a number that needs one part less, or, if bytes are the limit, 1 %
    less."""
    parts = -(-total // quotas.records_per_job)
    if total // parts < quotas.minimum_records:
        return (parts - 1) * quotas.records_per_job
    return total - max(1, total // 100)
