"""Creates a job of a given size over a lake in a Parquet file and prints what it took, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from bedrock_batches.lake.duckdb_ import TABLE_PROPERTIES, Attach, LakeLocation
from bedrock_batches.request.job_config import JobRequest, parse_job_request
from bedrock_batches.request.models import model_table
from bedrock_batches.select.duckdb_ import Lake
from bedrock_batches.submit import names
from bedrock_batches.submit.create_job import CreateServices, create_job
from bedrock_batches.submit.job import new_job
from bedrock_batches.submit.parts import Quotas
from bedrock_batches.violations import COLUMNS
from foundation.ports import StoredObject
from tests.support.bedrock_jobs import MODEL, Clock, Deadline, FakeBedrock
from tests.support.bedrock_results import FakeCaller, FakeJobs, FakeLeases, Process, World
from tests.support.lake import BUCKET_ARN
from tests.support.memory import peak_kilobytes

SEED = """
INSERT INTO osha SELECT 'OSHA-' || i, 'osha', 'Company ' || i, hash(i) % 200000, 'Serious', 'Title ' || i,
left(repeat(md5(i::VARCHAR) || ': inspectors found a breach of the rule. ', 90), {characters}), '{{"rule": "x"}}',
'Mobile', 'AL', DATE '2024-01-01' + (i % 700)::INTEGER, NULL, NULL, NULL, NULL, NULL, NULL FROM range({count}) t(i)
"""


class Discarded:
    """A bucket that only counts: what is measured is the processor, not a fake of S3."""

    bucket = "data"

    def __init__(self) -> None:
        self.bytes = 0

    def get(self, key: str) -> bytes:
        raise AssertionError("not used here")

    def read(self, key: str, version_id: str | None = None, start: int = 0) -> Iterator[bytes]:
        raise AssertionError("not used here")

    def exists(self, key: str) -> bool:
        return False

    def put(self, key: str, body: bytes, tags: dict[str, str] | None = None) -> str:
        self.bytes += len(body)
        return ""

    def put_new(self, key: str, body: bytes) -> bool:
        raise AssertionError("not used here")

    def delete(self, key: str) -> None:
        raise AssertionError("not used here")

    def list_objects(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        return iter(())

    def start_upload(self, key: str, tags: dict[str, str] | None = None) -> str:
        return "upload"

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes) -> str:
        self.put(key, body)
        return "etag"

    def abort_upload(self, key: str, upload_id: str) -> None:
        raise AssertionError("not used here")

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        return ""


class _NoContents:
    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        return set()


def attach_file(path: Path) -> Attach:
    def attach(connection: DuckDBPyConnection) -> None:
        connection.execute("ATTACH ':memory:' AS lake")
        connection.execute("CREATE SCHEMA lake.silver")
        connection.execute(f"CREATE VIEW lake.silver.osha AS SELECT * FROM read_parquet('{path}')")

    return attach


def lake_of(path: Path) -> Lake:
    location = LakeLocation(BUCKET_ARN, "silver", ("osha",), "", "")
    return Lake(location, attach_file(path))


def fill(path: Path, count: int, characters: int) -> None:
    """As a table of the lake is written."""
    size = TABLE_PROPERTIES["write.parquet.row-group-size-bytes"]
    columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS)
    with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"CREATE TABLE osha ({columns})")
        connection.execute(SEED.format(count=count, characters=characters))
        connection.execute(f"COPY osha TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE_BYTES {size})")


def main(count: int, characters: int) -> None:
    """Descriptions have so many characters."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "osha.parquet"
        # In another process: its memory would count here.
        code = (
            "from pathlib import Path; from tests.support.job_at_size import fill; "
            f"fill(Path({str(path)!r}), {count}, {characters})"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        print(json.dumps(measure(path, count)))


def measure(path: Path, count: int) -> dict[str, object]:
    process, objects, clock = Process(World()), Discarded(), Clock()
    jobs, bedrock = FakeJobs(process), FakeBedrock()
    services = CreateServices(
        lake=lake_of(path),
        jobs=jobs,
        objects=objects,
        batch=bedrock,
        on_demand=bedrock,
        leases=FakeLeases(process),
        clock=clock,
        deadline=Deadline(),
        models=model_table(),
        quotas=Quotas(),
        owner="measured",
        contents=_NoContents(),
        again=FakeCaller(process, []),
    )
    request = {"config": {"limits": {"maxViolations": count, "maxSpendUSD": 100_000}}}
    config = parse_job_request(JobRequest, request, models=model_table(), default_model=MODEL, agencies=["osha"]).config
    job_id = jobs.create(new_job(names.new_job_id(clock.now), clock.now, config.document()))
    began = time.perf_counter()
    job = create_job(job_id, services)
    return {
        "records": job.violation_count,
        "parts": [part.record_count for part in jobs.parts(job_id)],
        "megabytes": round(objects.bytes / 1e6),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": peak_kilobytes() // 1024,
    }
