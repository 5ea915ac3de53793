"""Says what to do about the causes for which rows fail (``run.causes``), and which settings can heal them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from row_batches.document.plan import Plan
from row_batches.targets.kinds import kind_of
from row_batches.targets.protocol import (
    AGENT_RESULT_ERROR,
    ANSWER_TOO_LARGE,
    CHILD_DIED_ERROR,
    MAPPING_ERROR,
    OFF_PROTOCOL_ERROR,
    ROW_TIMEOUT,
    THROTTLED,
    TOOL_RESULT_ERROR,
    TOOL_USE_ID_MISMATCH,
    UNAVAILABLE,
)

MOST_ATTEMPTS = 100

Changes = dict[str, Any]
"""New values of fields of ``execution_config``, as JSON."""


def _none(_: Plan) -> Changes:
    return {}


@dataclass(frozen=True)
class Cure:
    """The advice for a cause. It fits a cause whose error has one of ``names``, or in which ``pattern`` is found.

    ``changes`` are the settings of another run of the failed rows. If it is ``after_a_fix``, another run alone does not
    help: somebody must first change the target, the rows or a permission.
    """

    name: str
    advice: str
    names: frozenset[str] = frozenset()
    pattern: str = ""
    changes: Callable[[Plan], Changes] = field(default=_none)
    after_a_fix: bool = False

    @cached_property
    def _found(self) -> Callable[[str], re.Match[str] | None]:
        return re.compile(self.pattern or r"(?!)").search

    def fits(self, error: str, message: str) -> bool:
        return error in self.names or self._found(error) is not None or self._found(message) is not None


def _longer_timeout(plan: Plan) -> Changes:
    settings = plan.config.execution_config
    longest = kind_of(plan.target).most_timeout_seconds
    doubled = min(2 * settings.timeout_seconds, longest)
    return {"timeout_seconds": doubled} if doubled > settings.timeout_seconds else {}


def _more_attempts(plan: Plan) -> Changes:
    policy = plan.config.execution_config.retry_policy
    doubled = min(2 * policy.max_attempts, MOST_ATTEMPTS)
    if doubled == policy.max_attempts:
        return {}
    return {"retry_policy": {**policy.model_dump(mode="json", exclude_defaults=True), "max_attempts": doubled}}


def _lower_rate(plan: Plan) -> Changes:
    settings = plan.config.execution_config
    changes: Changes = {"max_concurrency": max(1, settings.max_concurrency // 2)}
    if settings.rate is not None:
        rate = settings.rate.model_dump(mode="json", exclude_none=True)
        changes["rate"] = {name: value / 2 for name, value in rate.items()}
    return changes


def _accept_off_protocol(_: Plan) -> Changes:
    return {"off_protocol": "accept"}


CURES = (
    Cure(
        "longer time-out",
        "The row's time ran out. Run these rows again with a longer timeout_seconds, or make the target faster.",
        names=frozenset({ROW_TIMEOUT}),
        changes=_longer_timeout,
    ),
    Cure(
        "target's time-out",
        "The target reached a time-out of its own. Raise it in the function's or the agent's configuration, then run "
        "these rows again.",
        names=frozenset({"States.Timeout", "Sandbox.Timedout"}),
        pattern=r"[Tt]ask timed out|TimeoutError|timed out after",
        after_a_fix=True,
    ),
    Cure(
        "lower rate",
        "The target throttled every call. Run these rows again with a lower max_concurrency or rate, or raise "
        "the target's own limit.",
        names=frozenset({THROTTLED}),
        pattern=r"Throttl|TooManyRequests|[Rr]ate exceeded|RequestLimitExceeded",
        changes=_lower_rate,
    ),
    Cure(
        "permission",
        "A permission is missing: the message names the action. Grant it to the target's role, then run these rows "
        "again.",
        pattern=r"AccessDenied|[Aa]ccess denied|not authorized|UnauthorizedOperation|UnrecognizedClient|NotAuthorized",
        after_a_fix=True,
    ),
    Cure(
        "try again",
        "The service did not answer. Run these rows again, with more attempts.",
        names=frozenset({UNAVAILABLE}),
        changes=_more_attempts,
    ),
    Cure(
        "worker died",
        "The child workflow that ran these rows died. Run them again; if it happens again, look at the execution of "
        "the child.",
        names=frozenset({CHILD_DIED_ERROR}),
    ),
    Cure(
        "smaller answer",
        "The answer is too large. Make the target return less, for example the key of an object in S3, then run these "
        "rows again.",
        names=frozenset({ANSWER_TOO_LARGE}),
        after_a_fix=True,
    ),
    Cure(
        "mapping",
        "The row could not be mapped. Correct its cells in failed_rows.csv and submit that file, give the "
        "transformation a default, or correct output_mapping and run make remap.",
        names=frozenset({MAPPING_ERROR}),
        after_a_fix=True,
    ),
    Cure(
        "accept the answer",
        "The answer does not follow the target's protocol. Run these rows again with off_protocol: accept, or correct "
        "the target's answer (docs/reference/targets.md).",
        names=frozenset({OFF_PROTOCOL_ERROR}),
        changes=_accept_off_protocol,
    ),
    Cure(
        "target's answer",
        "The target reported a failure. Correct what its message names, in the rows or in the target, then run "
        "these rows again.",
        names=frozenset({TOOL_RESULT_ERROR, AGENT_RESULT_ERROR}),
        after_a_fix=True,
    ),
    Cure(
        "target's id",
        "The answer is not for this call. The target must return the id of its request as tool_use_id.",
        names=frozenset({TOOL_USE_ID_MISMATCH}),
        after_a_fix=True,
    ),
    Cure(
        "more memory",
        "The function ran out of memory or exited. Raise its memory, then run these rows again.",
        names=frozenset({"Runtime.ExitError", "Runtime.OutOfMemory", "MemoryError"}),
        after_a_fix=True,
    ),
    Cure(
        "more attempts",
        "The target raised this error. Look at its log. If the error is temporary, run these rows again with "
        "more attempts; otherwise correct the target first.",
        pattern=r"",
        changes=_more_attempts,
    ),
)
"""The first cure that fits a cause is its cure. The last one fits every cause."""


def cure_of(error: str, message: str) -> Cure:
    """The cure of a cause, from its error name and message."""
    return next((cure for cure in CURES[:-1] if cure.fits(error, message)), CURES[-1])
