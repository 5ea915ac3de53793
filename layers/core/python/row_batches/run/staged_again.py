"""Takes the rows that an earlier execution staged as the input of the next one."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.errors import InvalidInputError, ObjectNotFoundError, Problem
from row_batches.document.plan import Plan
from row_batches.files.ports import WorkObjects
from row_batches.run.skipped import all_staged


class StagedAgain:
    """The rows that an earlier execution staged, for the staged copy of the next one, as ``table.InputStaging``.

    They are exactly that execution's input, even if the user's file has changed. Iterate once to get the bytes. They
    are copied in one call: nothing is done per row. Memory: a chunk.
    """

    warnings: tuple[str, ...] = ()

    def __init__(self, work: WorkObjects, plan: Plan) -> None:
        self.typed = plan.typed_input
        self.columns = plan.columns
        self.header = plan.header or plan.columns
        self.total_rows = plan.total_rows
        self.size_bytes = plan.staged.size_bytes
        self._work = work
        self._plan = plan

    def __iter__(self) -> Iterator[bytes]:
        """The chunks of the staged copy. Raises ``InvalidInputError`` if it has expired."""
        try:
            yield from all_staged(self._work, self._plan)
        except ObjectNotFoundError:
            uri = f"s3://{self._plan.staged.bucket}/{self._plan.staged.key}"
            fix = "write the address of the CSV into csv_s3_uri, and keep its rows in their order"
            raise InvalidInputError([Problem("csv_s3_uri", uri, "the staged rows have expired", fix)]) from None
