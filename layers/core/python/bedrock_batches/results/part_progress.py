"""The status of a job from its parts, and the reasons of failed parts."""

from __future__ import annotations

from collections.abc import Sequence

from bedrock_batches.submit.job import BedrockStatus, Part, PartStatus

SUCCESSFUL = frozenset({BedrockStatus.COMPLETED, BedrockStatus.PARTIALLY_COMPLETED, BedrockStatus.ON_DEMAND})
PROGRESS = (
    BedrockStatus.QUEUED,
    BedrockStatus.SUBMITTED,
    BedrockStatus.VALIDATING,
    BedrockStatus.SCHEDULED,
    BedrockStatus.IN_PROGRESS,
    BedrockStatus.STOPPING,
)
"""Statuses of running parts, in the order of progress."""
ENDINGS = (
    BedrockStatus.FAILED,
    BedrockStatus.EXPIRED,
    BedrockStatus.STOPPED,
    BedrockStatus.PARTIALLY_COMPLETED,
    BedrockStatus.ON_DEMAND,
    BedrockStatus.COMPLETED,
)
"""Statuses of ended parts, the worst first."""
MOST_NAMED = 10
"""The most parts that a message names."""
_OWN_WORDS = {
    PartStatus.QUEUED: BedrockStatus.QUEUED,
    PartStatus.REFUSED: BedrockStatus.FAILED,
    PartStatus.CANCELLED: BedrockStatus.STOPPED,
}


def status_of(part: Part) -> str:
    """Bedrock's status of a part, or the word for one that Bedrock does not have."""
    return _OWN_WORDS.get(part.status) or part.bedrock_status or BedrockStatus.SUBMITTED


def status_of_job(parts: Sequence[Part], otherwise: str) -> str:
    """The status of the part with the least progress or, if all have ended, with the worst end."""
    statuses = {status_of(part) for part in parts}
    return next((status for status in (*PROGRESS, *ENDINGS) if status in statuses), otherwise)


def has_output(part: Part) -> bool:
    """Whether Bedrock writes an object for an ended part.

    After a stop, it writes and counts the records that were answered before. The object can come after the status.
    """
    return part.bedrock_status in SUCCESSFUL or (part.processed_count or 0) > 0


def ending_of(part: Part) -> str:
    """The status with which a part ended, and Bedrock's message."""
    message = part.message.rstrip(". ")
    return f"{status_of(part)} ({message})" if message else status_of(part)


def troubles_of(parts: Sequence[Part]) -> list[str]:
    """A sentence for each part that did not end well, for up to MOST_NAMED of them."""
    troubled = [part for part in parts if status_of(part) not in SUCCESSFUL]
    texts = [f"Part {part.number}: {ending_of(part)}." for part in troubled[:MOST_NAMED]]
    more = len(troubled) - len(texts)
    return [*texts, f"… and {more} more parts."] if more else texts
