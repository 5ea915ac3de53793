"""The finished rows of a run, in any storage mode, also while it runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from contextlib import closing
from heapq import merge
from itertools import islice

from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.runs import read_plan
from foundation.aws.s3 import S3ObjectStore
from foundation.clock import SystemClock
from row_batches.rows.records import RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run.batch import Batch
from row_batches.run.skipped import list_skipped

MOST_CELL_BYTES = 16 * 1024 * 1024
"""A cell can hold a whole answer of 6 MB, quoted."""


class Row(BaseModel):
    """A finished row. ``values`` are its cells in the output, by column. ``error`` is "" for a row that is SUCCESS."""

    model_config = ConfigDict(frozen=True)

    row: int
    status: RowStatus
    error: str
    values: dict[str, str]


class RowPage(BaseModel):
    """Some rows in order. ``next_row`` is where the next page begins; None if there is none by now."""

    model_config = ConfigDict(frozen=True)

    execution: str
    rows: list[Row]
    next_row: int | None


def list_rows(
    deployment: Deployment,
    execution: str,
    *,
    statuses: Collection[RowStatus] = (),
    first_row: int = 1,
    limit: int = 50,
) -> RowPage:
    """Up to ``limit`` finished rows with these statuses, all by default, from ``first_row`` on.

    Raises ClientError if the run's plan has expired or there is no such run.
    """
    name = execution.rpartition(":")[2]
    plan = read_plan(deployment, name)
    objects = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    stores = RowStores(objects, SystemClock(), lambda: (deployment.client("dynamodb"), deployment.results_table))
    batch = Batch(plan, objects, SystemClock(), stores)
    wanted = frozenset(statuses or RowStatus)
    skipped = list_skipped(batch, first_row) if RowStatus.SKIPPED in wanted else ()
    csv.field_size_limit(MOST_CELL_BYTES)
    with closing(batch.rows.listed(wanted, first_row)) as listing:
        found = list(islice(merge(listing, skipped, key=lambda listed: listed.row), limit + 1))
    rows = [
        Row(
            row=listed.row,
            status=listed.status,
            error=listed.error,
            values=dict(zip(plan.output_header, next(csv.reader(io.StringIO(listed.csv, newline=""))), strict=True)),
        )
        for listed in found[:limit]
    ]
    return RowPage(execution=name, rows=rows, next_row=found[limit].row if len(found) > limit else None)
