"""Creates a job of a given size over a lake in a DuckDB file and prints what it took, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from duckdb import DuckDBPyConnection

from batch_processor.adapters.bedrock.lake import Attach, Lake, LakeLocation, Resources
from batch_processor.app.bedrock.create_job import CreateServices, create_job
from batch_processor.app.ports import StoredObject
from batch_processor.domain.bedrock import job as names
from batch_processor.domain.bedrock.job_config import parse_job_request
from batch_processor.domain.bedrock.parts import Quotas
from batch_processor.domain.bedrock.pricing import DEFAULT_MODELS
from tests.support.bedrock_jobs import MODEL, Clock, Deadline, FakeBedrock
from tests.support.bedrock_results import FakeJobs, FakeLeases, Process, World
from tests.support.lake import BUCKET_ARN, create_tables
from tests.support.memory import peak_kilobytes

SEED = """
INSERT INTO lake.silver.osha SELECT 'OSHA-' || i, 'osha', 'Company ' || i, i % 200000, 'Serious', 'Title ' || i,
repeat('Inspectors found a breach of the rule. ', 25), '{{"rule": "x"}}', 'Mobile', 'AL',
DATE '2024-01-01' + (i % 700)::INTEGER, NULL, NULL, NULL, NULL, NULL, NULL FROM range({count}) t(i)
"""


class Discarded:
    """A bucket that only counts: what is measured is the processor, not a fake of S3."""

    bucket = "data"

    def __init__(self) -> None:
        self.bytes = 0

    def get(self, key: str) -> bytes:
        raise AssertionError("not used here")

    def read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
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

    def complete_upload(self, key: str, upload_id: str, etags: list[str]) -> str:
        return ""


class _NoContents:
    def with_content(self, violation_ids: Collection[str]) -> set[str]:
        return set()


def attach_file(path: Path) -> Attach:
    def attach(connection: DuckDBPyConnection) -> None:
        connection.execute(f"ATTACH '{path}' AS lake")
        connection.execute("CREATE SCHEMA IF NOT EXISTS lake.silver")

    return attach


def lake_of(path: Path) -> Lake:
    location = LakeLocation(BUCKET_ARN, "silver", ("osha",), "", "")
    return Lake(location, attach_file(path), Resources(memory_mb=256))


def fill(path: Path, count: int) -> None:
    with lake_of(path).connected() as connection:
        create_tables(connection, ["osha"])
        connection.execute(SEED.format(count=count))


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lake.duckdb"
        # In another process: its memory would count here.
        code = (
            f"from pathlib import Path; from tests.support.job_at_size import fill; fill(Path({str(path)!r}), {count})"
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
        models=DEFAULT_MODELS,
        quotas=Quotas(),
        owner="measured",
        contents=_NoContents(),
    )
    request = {"config": {"limits": {"maxViolations": count, "maxSpendUSD": 100_000}}}
    config = parse_job_request(request, models=DEFAULT_MODELS, default_model=MODEL, agencies=["osha"])
    job_id = jobs.create(names.new_job(names.new_job_id(clock.now), clock.now, config.document()))
    began = time.perf_counter()
    job = create_job(job_id, services)
    return {
        "records": job["violationCount"],
        "parts": [part["recordCount"] for part in jobs.parts(job_id)],
        "megabytes": round(objects.bytes / 1e6),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": peak_kilobytes() // 1024,
    }
