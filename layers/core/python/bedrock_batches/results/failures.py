"""Groups the failures of a job's records by reason, each with its count and an example."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from bedrock_batches.submit.job import FailureGroup
from bedrock_batches.submit.names import errors_prefix
from bedrock_batches.submit.records_in_flight import lines_of
from foundation.ports import ObjectStore

MOST_GROUPS = 10
MOST_REASON_CHARACTERS = 500
_LATER_MAY_SUCCEED = frozenset({408, 409, 424, 429})
"""Codes of client errors that can pass when the same request is repeated: time-outs, conflicts, throttling."""


@dataclass
class _Group:
    error: str
    reason: str
    code: int | None
    example: str
    count: int = 0


def failure_groups(job_id: str, objects: ObjectStore) -> tuple[FailureGroup, ...]:
    """A group for each kind of failure, the most frequent first.

    Failures are of one kind when their texts differ only in numbers. What is beyond MOST_GROUPS kinds is one group of
    its own. A record counts once, however many objects name it. Reads every object under the job's ``errors/`` once;
    memory: about 100 bytes for each failed record.
    """
    groups: dict[tuple[str, int | None, str], _Group] = {}
    seen: set[str] = set()
    for found in objects.list_objects(errors_prefix(job_id)):
        for line in lines_of(objects.read(found.key)):
            failed = orjson.loads(line)
            record_id = str(failed["recordId"])
            if record_id in seen:
                continue
            seen.add(record_id)
            reason = str(failed.get("reason") or "")[:MOST_REASON_CHARACTERS]
            error, code = str(failed.get("error") or ""), failed.get("code")
            kind = (error, code, re.sub(r"\d+", "0", reason))
            group = groups.setdefault(kind, _Group(error, reason, code, record_id))
            group.count += 1
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.example))
    return tuple(_told(group) for group in [*ordered[:MOST_GROUPS], *_others(ordered[MOST_GROUPS:])])


def _others(groups: Iterable[_Group]) -> list[_Group]:
    left = list(groups)
    if not left:
        return []
    return [_Group("Other failures", f"{len(left)} other kinds", None, left[0].example, sum(one.count for one in left))]


def _told(group: _Group) -> FailureGroup:
    same = group.code is not None and 400 <= group.code < 500 and group.code not in _LATER_MAY_SUCCEED
    return FailureGroup(group.error, group.reason, group.code, group.count, group.example, same)
