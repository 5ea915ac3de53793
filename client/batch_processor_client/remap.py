"""Writes the output of a finished execution again with other columns, without calling the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.config import Config
from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import name_of
from foundation.aws.s3 import S3ObjectStore
from foundation.clock import SystemClock
from row_batches.files.outputs_s3 import S3OutputObjects
from row_batches.rows.read_ahead import READERS
from row_batches.rows.stores import RowStores
from row_batches.run import remap as core
from row_batches.run.remap import Remapped

PARALLEL = Config(max_pool_connections=READERS)


class Remap(BaseModel):
    """The new output of an execution and its address."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    output_s3_uri: str
    remapped: Remapped


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
