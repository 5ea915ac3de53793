"""The files that a run leaves in the results bucket, to list and to download."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from batch_processor_client.deployment import Deployment
from batch_processor_client.executions import name_of
from batch_processor_client.files import open_object
from foundation.aws.s3 import S3ObjectStore
from row_batches.document.plan import Keys

TITLES = {
    "output.csv": "Output (CSV)",
    "output.xlsx": "Output (Excel)",
    "output.jsonl": "Output (JSON Lines)",
    "failed_rows.csv": "Failed rows (CSV)",
    "summary.json": "Summary",
    "trial.json": "Report of the trial",
}
"""Titles in the order in which they are shown. Other files come last, under their path."""
MEDIA_TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class RunFile(BaseModel):
    """A file of a run. ``path`` is its place under ``results/<execution>/``."""

    model_config = ConfigDict(frozen=True)

    path: str
    size_bytes: int

    @property
    def title(self) -> str:
        return TITLES.get(self.path, self.path)


def media_type_of(path: str) -> str:
    """The media type of a file, by the end of its name."""
    return MEDIA_TYPES.get(path.rpartition(".")[2], "application/octet-stream")


def list_files(deployment: Deployment, execution: str) -> list[RunFile]:
    """The files of a run, those of ``TITLES`` first."""
    folder = Keys(name_of(execution)).results
    store = S3ObjectStore(deployment.client("s3"), deployment.results_bucket)
    found = [
        RunFile(path=stored.key.removeprefix(folder), size_bytes=stored.size) for stored in store.list_objects(folder)
    ]
    order = list(TITLES)
    return sorted(found, key=lambda one: (order.index(one.path) if one.path in TITLES else len(order), one.path))


def open_file(deployment: Deployment, execution: str, path: str) -> Iterator[bytes]:
    """The content of a run's file in chunks. Raises ClientError, before the first chunk, if it has no such file."""
    return open_object(deployment, f"s3://{deployment.results_bucket}/{Keys(name_of(execution)).results}{path}")
