"""The messages between the state machine and ValidateInput."""

from datetime import datetime
from typing import Any

from row_batches.run.messages import ChildInput, Message, ObjectVersion
from row_batches.targets.kind import Processor


class ExecutionReference(Message):
    """The execution that asks."""

    arn: str
    name: str
    started_at: datetime


class ValidateRequest(Message):
    """``input`` is the document, of any shape."""

    execution: ExecutionReference
    input: Any


class MapSettings(Message):
    """The settings of the map states: children at once and rows in each child."""

    max_concurrency: int
    batch_size: int


class ValidateResponse(Message):
    """The plan of the execution. If not ``done``, the input is not staged yet, and the other fields say nothing."""

    done: bool = True
    execution_id: str
    plan_key: str
    processor: Processor
    dry_run: bool
    total_rows: int
    staged: ObjectVersion
    map: MapSettings
    map_prefix: str
    inline: bool = False
    """Whether the execution runs its rows itself, without a Map Run. They are in ``children``."""
    children: list[ChildInput] = []
    document: dict[str, Any] | None = None
    """The execution's output. Set only for a dry run."""
    trial: bool = False
    """Whether some rows run before the others."""
    approval_seconds: int = 0
    """How long the execution waits for an approval after its trial."""
