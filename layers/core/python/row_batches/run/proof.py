"""Builds ``proof.json``, with which anyone can check that a run's output belongs to its input (``make verify``).

It has the hashes of the input as it was read, of the plan, and of the files of the result, the version of the target,
the counts, and the cost by meter. ``proof_rows.b64`` has the hashes of each row (``rows.proof_rows``); ``proof.json``
has the hashes of that file's parts, so it stays small for any number of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from row_batches.document.plan import ReadObject
from row_batches.files.result_file import FileProof
from row_batches.mapping.metadata_columns import timestamp
from row_batches.run.batch import Batch
from row_batches.run.totals import Totals

PROOF_SCHEMA_VERSION = 1


def proof_of_run(
    batch: Batch,
    totals: Totals,
    cost: dict[str, object],
    *,
    plan_body: bytes,
    first_line: bytes,
    rows: FileProof,
    files: Sequence[FileProof],
    now_ms: int,
) -> dict[str, Any]:
    """The content of ``proof.json``.

    ``plan_body`` is the plan as it is stored. ``first_line`` is that of ``output.csv``, of which ``rows`` has the other
    lines. ``files`` are the other files of the result.
    """
    plan = batch.plan
    renderer = batch.renderer
    return {
        "schema_version": PROOF_SCHEMA_VERSION,
        "execution_id": plan.execution.name,
        "execution_arn": plan.execution.arn,
        "finished_at": timestamp(now_ms),
        "input": {
            "objects": [_read(read) for read in plan.read],
            "format": plan.config.input_format.model_dump(mode="json"),
            "columns": plan.columns,
            "rows": plan.total_rows,
        },
        "plan": {"key": plan.keys.plan, "sha256": hashlib.sha256(plan_body).hexdigest()},
        "target": {
            "name": plan.target.name,
            "arn": plan.target.arn,
            "version": str(plan.target.answering_version),
            "answered_by": totals.target_versions,
        },
        "output": {
            "key": plan.keys.output,
            "first_line": {"bytes": len(first_line), "sha256": hashlib.sha256(first_line).hexdigest()},
            "original_columns": list(renderer.kept) if plan.config.output_mapping.include_original else [],
        },
        "rows": rows.model_dump(),
        "files": [file.model_dump() for file in files],
        "counts": {
            "succeeded": totals.succeeded,
            "failed": totals.failed,
            "timed_out": totals.timed_out,
            "not_attempted": totals.not_attempted,
            "skipped": totals.skipped,
        },
        "cost": cost,
    }


def _read(read: ReadObject) -> dict[str, Any]:
    """``parts`` are given only if they are hashed instead of the whole, as ``sha256`` says by its absence."""
    return {**read.model_dump(exclude=set() if read.parts else {"parts"}), "sha256": read.sha256 or None}
