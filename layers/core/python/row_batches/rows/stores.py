"""Opens the store of an execution's finished rows: the one place that chooses an adapter."""

from __future__ import annotations

from foundation.ports import ObjectStore
from row_batches.document.plan import Keys
from row_batches.rows.s3 import S3RowStore
from row_batches.rows.store import RowStore


def open_rows(objects: ObjectStore, execution: str, batch_size: int) -> RowStore:
    """The rows of ``execution``, whose plan has at most ``batch_size`` rows a child."""
    return S3RowStore(objects, Keys(execution), batch_size)
