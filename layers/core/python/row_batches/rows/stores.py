"""Opens the stores of executions' finished rows. No other module chooses an adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from foundation.errors import DeploymentError
from foundation.ports import Clock, ObjectStore
from row_batches.document.plan import Keys, Storage, StorageMode
from row_batches.rows.s3 import S3RowStore
from row_batches.rows.store import RowStore


class RowStores:
    """Opens row stores. ``table`` returns the client and name of the table of rows, and is called at the first use."""

    def __init__(self, objects: ObjectStore, clock: Clock, table: Callable[[], tuple[Any, str]] | None = None) -> None:
        self._objects = objects
        self._clock = clock
        self._table = table

    def open(self, execution: str, storage: Storage, *, batch_size: int, columns: Sequence[str] = ()) -> RowStore:
        """The rows of ``execution``, whose plan has up to ``batch_size`` rows a child.

        ``columns`` are the names of its input's columns and are needed to write. Raises ``DeploymentError`` if the
        rows are in a table that this function does not know.
        """
        keys = Keys(execution)
        if storage.mode is StorageMode.S3 or storage.mode is StorageMode.INLINE:
            return S3RowStore(self._objects, keys, batch_size)
        if storage.mode is not StorageMode.DYNAMODB:
            assert_never(storage.mode)
        if self._table is None:
            raise DeploymentError(f"The rows of {execution} are in DynamoDB, and this function has no RESULTS_TABLE.")
        from row_batches.rows.dynamodb import DynamoDbRowStore  # noqa: PLC0415 (the SDK is loaded by those who need it)

        client, table = self._table()
        return DynamoDbRowStore(
            client, table, self._objects, keys, storage, batch_size=batch_size, columns=columns, clock=self._clock
        )
