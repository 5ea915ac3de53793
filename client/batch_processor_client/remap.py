"""Writes the output of a finished execution again with other columns, without calling the target."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.config import Config
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import name_of
from batch_processor_client.runs import read_plan
from foundation.aws.s3 import S3ObjectStore
from foundation.clock import SystemClock
from row_batches.files.outputs_s3 import S3OutputObjects
from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.rows.read_ahead import READERS
from row_batches.rows.records import AnsweredRow, RowStatus
from row_batches.rows.stores import RowStores
from row_batches.run import remap as core
from row_batches.run.batch import Batch
from row_batches.run.remap import Remapped

KEPT_SHOWN = 5
PARALLEL = Config(max_pool_connections=READERS)


@dataclass(frozen=True)
class Kept:
    """The first answers that a run has kept. Its mapping is tried on them before a whole output is written."""

    batch: Batch
    rows: list[AnsweredRow]

    @property
    def document(self) -> dict[str, Any]:
        """The parts of the run's own document that a remap can change."""
        config = self.batch.plan.config
        parts = {"output_mapping": config.output_mapping, "output_format": config.output_format}
        shown = {name: part.model_dump(mode="json", exclude_defaults=True) for name, part in parts.items()}
        return {name: part for name, part in shown.items() if part or name == "output_mapping"}


@dataclass(frozen=True)
class MappedAnswer:
    """A kept answer under another mapping. ``cells`` are by column; ``missing`` are columns that matched nothing."""

    row: int
    cells: dict[str, str]
    missing: list[str]
    unfit: list[str]


def kept_answers(deployment: Deployment, execution: str, limit: int = KEPT_SHOWN) -> Kept:
    """The first answers of a run that it kept, up to ``limit``. Raises ClientError if its plan has expired."""
    plan = read_plan(deployment, name_of(execution))
    objects = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    stores = RowStores(objects, SystemClock(), lambda: (deployment.client("dynamodb"), deployment.results_table))
    batch = Batch(plan, objects, SystemClock(), stores)
    with closing(batch.rows.answers()) as answers:
        usable = (one for one in answers if one.status is RowStatus.SUCCESS or one.unmatched)
        return Kept(batch, list(islice(usable, limit)))


def preview(kept: Kept, document: dict[str, Any]) -> list[MappedAnswer]:
    """The kept answers under the document's ``output_mapping``. Raises InvalidInputError for a mistake in it."""
    mapper = compile_output_mapping(
        core.remapped_config(kept.batch.plan, document, kept.batch.work.objects.bucket).output_mapping
    )
    shown = []
    for answered in kept.rows:
        outcome = kept.batch.outcome_of(answered)
        mapped = mapper.map(outcome.answer, outcome.payload)
        cells = dict(zip(mapper.names, mapped.values, strict=True))
        shown.append(MappedAnswer(answered.row, cells, list(mapped.missing), list(mapped.cast_failures)))
    return shown


class Remap(BaseModel):
    """The new output of an execution and its address."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    output_s3_uri: str
    remapped: Remapped

    @property
    def document(self) -> dict[str, Any]:
        """The result as JSON, for scripts."""
        new = self.remapped
        counts = {status.value: count for status, count in new.counts.items()}
        return {
            "output_s3_uri": self.output_s3_uri,
            "columns": new.columns,
            "total_rows": new.total_rows,
            "counts": counts,
            "unfinished": new.unfinished,
            "warnings": new.warnings,
            "first_rows": new.first_rows,
        }


def remap(
    deployment: Deployment,
    execution: str,
    document: dict[str, Any],
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Remap:
    """Write the new output under ``results/<execution>/remapped/<UTC time>/``, and copy it to ``output_s3_uri``.

    It uses ``output_mapping`` of the document and the answers, which are kept for work_retention_days. ``progress`` is
    called now and then with the rows done and all rows. Raises InvalidInputError for a mistake in the mapping, and
    RemapError if the execution has no output yet or its answers have expired.
    """
    objects = S3ObjectStore(deployment.client("s3", PARALLEL), deployment.results_bucket)
    stores = RowStores(
        objects, SystemClock(), lambda: (deployment.client("dynamodb", PARALLEL), deployment.results_table)
    )
    done = core.remap(
        name_of(execution),
        document,
        objects=objects,
        clock=SystemClock(),
        stores=stores,
        outputs=lambda: S3OutputObjects(
            lambda: deployment.client("s3"), deployment.results_bucket, writer="your credentials"
        ),
        progress=progress,
    )
    return Remap(output_s3_uri=f"s3://{deployment.results_bucket}/{done.key}", remapped=done)
