"""Opens the stores of executions' finished rows: the one place that chooses an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foundation.errors import DeploymentError
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import Keys, Storage, StorageMode
from row_batches.rows.s3 import S3RowStore
from row_batches.rows.store import RowStore


class RowStores:
    """``table`` gives the client and the name of the table of rows, at the first execution that keeps rows there."""

    def __init__(self, objects: ObjectStore, clock: Clock, table: Callable[[], tuple[Any, str]] | None = None) -> None:
        self._objects = objects
        self._clock = clock
        self._table = table

    def open(self, execution: str, storage: Storage, *, batch_size: int, columns: Sequence[str] = ()) -> RowStore:
        """The rows of ``execution``, whose plan has at most ``batch_size`` rows a child.

        ``columns``, the names of its input's columns, are needed to write. Raises ``DeploymentError`` where the rows
        are in a table that this function does not know.
        """
        keys = Keys(execution)
        if storage.mode is not StorageMode.DYNAMODB:
            return S3RowStore(self._objects, keys, batch_size)
        if self._table is None:
            raise DeploymentError(f"The rows of {execution} are in DynamoDB, and this function has no RESULTS_TABLE.")
        from row_batches.rows.dynamodb import DynamoDbRowStore  # noqa: PLC0415 (the SDK is loaded by those who need it)

        client, table = self._table()
        return DynamoDbRowStore(
            client, table, self._objects, keys, storage, batch_size=batch_size, columns=columns, clock=self._clock
        )
