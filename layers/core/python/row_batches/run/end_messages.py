"""The messages about the end of a run: of AggregateResults, of a trial, and of the finishing machine."""

import hashlib
from enum import StrEnum
from typing import Any

from row_batches.run.messages import CaughtError, Message, ObjectVersion


class ExecutionStatus(StrEnum):
    """The statuses of an ended execution in Step Functions."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    ABORTED = "ABORTED"

    @property
    def stopped(self) -> bool:
        """Whether the execution was ended from outside, at any point of its work."""
        return self in (ExecutionStatus.TIMED_OUT, ExecutionStatus.ABORTED)


class EndedRun(Message):
    """A run that has ended. ``ended_ms`` is the execution's stop date in milliseconds since the epoch.

    ``batch_name`` and ``target`` come from the input document. A run with a plan has its names in the plan.
    ``document`` is the output. ``again`` says that an earlier attempt at finishing this run failed and announced it.
    """

    execution_arn: str
    execution: str
    plan_key: str
    status: ExecutionStatus
    ended_ms: int
    error: str = ""
    cause: str = ""
    batch_name: str = ""
    target: str = ""
    document: dict[str, Any] = {}
    again: bool = False

    @property
    def finishing_name(self) -> str:
        """The name of the execution that finishes this run. One ending always gives the same name."""
        text = f"{self.execution_arn} {self.ended_ms}"
        return f"finish-{hashlib.sha256(text.encode()).hexdigest()[:48]}"


class AggregateAction(StrEnum):
    """The part of AggregateResults to do. FINISH is AGGREGATE if no row is missing, else FIND_MISSING.

    The others are the steps of a trial: they answer with ``TrialResponse``.
    """

    FIND_MISSING = "FIND_MISSING"
    AGGREGATE = "AGGREGATE"
    FINISH = "FINISH"
    STAGE_TRIAL = "STAGE_TRIAL"
    REPORT_TRIAL = "REPORT_TRIAL"
    ASK_APPROVAL = "ASK_APPROVAL"
    TAKE_ANSWER = "TAKE_ANSWER"

    @property
    def of_trial(self) -> bool:
        return self not in (AggregateAction.FIND_MISSING, AggregateAction.AGGREGATE, AggregateAction.FINISH)


class AggregateRequest(Message):
    action: AggregateAction
    plan_key: str
    manifests: list[str] = []
    """Keys of the ResultWriter manifests, one for each pass. They tell why children died."""
    ended: EndedRun | None = None
    """Set by the finishing machine: the execution has ended, possibly before its own aggregation."""
    token: str = ""
    """ASK_APPROVAL: the token of the task that waits for the answer."""
    seconds: int = 0
    """ASK_APPROVAL: how long it waits."""
    approved: bool | None = None
    """TAKE_ANSWER: the answer; None if nobody answered in time."""


class AggregateResponse(Message):
    """The result of a call. FIND_MISSING staged ``missing`` rows in ``missing_input``. Call AGGREGATE until ``done``.

    If ``come_again_in_seconds`` > 0, another call owns rows or the aggregation: call again after that time. ``error``
    is set if the execution must end in Fail. ``document`` is the output document. If ``redriven``, the execution was
    redriven after the ending that is being finished. This ending is not announced; the next one is.
    """

    done: bool = True
    redriven: bool = False
    come_again_in_seconds: int = 0
    missing: int = 0
    max_concurrency: int = 1
    """The number of children at once in the pass over the missing rows. Each has one row."""
    missing_input: ObjectVersion | None = None
    error: CaughtError | None = None
    document: dict[str, Any] | None = None


class TrialResponse(Message):
    """The result of a step of a trial. STAGE_TRIAL staged its rows in ``source``, for children of ``batch_size`` rows.

    REPORT_TRIAL says whether the execution ``asks`` for an approval. After it and after TAKE_ANSWER, ``goes_on`` says
    whether the other rows run.
    """

    source: ObjectVersion | None = None
    batch_size: int = 1
    asks: bool = False
    goes_on: bool = False
