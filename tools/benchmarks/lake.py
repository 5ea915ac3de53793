"""Selecting violations from a million rows on S3 Tables of a local AWS, down to the input file of Bedrock.

Each measurement is a process of its own, with DuckDB's settings of a function of 2 GB. The peer is the plain
way on the same tables: one query over all columns, every row fetched, then written as the same JSONL.
"""

# ruff: noqa: S608 (identifiers are checked, values are bound)

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bedrock_batches.lake.duckdb_ import Resources
from bedrock_batches.request.filters import Filters
from bedrock_batches.select.duckdb_ import Lake, aws_lake
from bedrock_batches.select.selection import Criteria
from bedrock_batches.submit.draft import Draft
from bedrock_batches.submit.parts import Span
from bedrock_batches.submit.prompt import Inference, line_of, request_for
from bedrock_batches.violations import TIERS, ViolationRecord
from foundation.functions import function_sizes
from tools import local_aws

AGENCIES = ("osha", "msha", "nhtsa", "faa", "uscg", "fra", "epa")
ROWS = 1_000_000
RECORDS = 100_000
IN_FLIGHT = 50_000
AIM_SECONDS = 60
AIM_MB = 512
REPEATS = 3
TODAY = date(2026, 10, 1)
BUCKET = "bench-lake"
OURS = Resources(memory_mb=function_sizes("bedrock_batches")["bedrock_batch_processor"].duckdb_memory_mb)
PLAIN = Resources(memory_mb=1_536)
"""The memory that a function of 2 GB can give. With our 384 MB, the plain query runs out of memory."""
INFERENCE = Inference(max_tokens=500, temperature=0.2)
FILTERS = Filters.model_validate(
    {
        "minFineAmount": 500.0,
        "maxFineAmount": 900_000.0,
        "agencies": [agency.upper() for agency in AGENCIES],
        "dateRange": {"start": str(TODAY - timedelta(days=2_000)), "end": str(TODAY)},
        "violationTypes": ["serious", "WILLFUL", "Repeat"],
        "excludeTypes": ["repeat"],
        "hasFatalities": False,
        "minDaysOld": 1,
        "maxDaysOld": 1_990,
    }
)


@dataclass(frozen=True)
class Measured:
    """``seconds`` from opening the lake to the last line; ``peak_mb`` of the whole process."""

    seconds: float
    peak_mb: float
    records: int


def lake(resources: Resources = OURS) -> Lake:
    session: Any = local_aws.session()
    tables = session.client("s3tables", endpoint_url=local_aws.endpoint_url())
    (arn,) = (found["arn"] for found in tables.list_table_buckets()["tableBuckets"] if found["name"] == BUCKET)
    return aws_lake(arn, "silver", AGENCIES, resources, time.sleep, session, local_aws.endpoint_url())


def fill(rows: int) -> None:
    """``rows`` rows over the agencies: texts of 300 to 6,000 bytes, a fifth with content."""
    session: Any = local_aws.session()
    client = session.client("s3tables", endpoint_url=local_aws.endpoint_url())
    arn = client.create_table_bucket(name=BUCKET)["arn"]
    client.create_namespace(tableBucketARN=arn, namespace=["silver"])
    made = lake()
    with made.connected() as connection:
        for agency in AGENCIES:
            made.make_table(connection, agency)
            connection.execute(
                f"INSERT INTO lake.silver.{agency} "
                "SELECT upper($agency) || '-' || i, $agency, 'Company ' || hash(i) % 20000, "
                "(hash(i, 1) % 30000000) / 100.0, "
                "['Serious', 'Willful', 'Repeat', 'Other-than-Serious'][1 + (hash(i, 2) % 4)::INTEGER], 'Title ' || i, "
                "repeat(md5(i::VARCHAR) || ' it''s an \"open\" hole; ', 5 + (hash(i, 3) % 95)::INTEGER), "
                "'{\"fatalities\": ' || CASE WHEN hash(i, 4) % 50 = 0 THEN 1 ELSE 0 END || '}', 'Toledo', 'OH', "
                "$today::DATE - (hash(i, 5) % 2200)::INTEGER, CASE WHEN hash(i, 6) % 5 = 0 THEN 'Done' END, "
                f"NULL, NULL, NULL, false, NULL FROM range({rows // len(AGENCIES)}) AS t(i)",
                {"agency": agency, "today": TODAY},
            )


def ours(folder: Path, records: int) -> int:
    """Select and write the input file as the processor does; the number of records."""
    criteria = Criteria(FILTERS.given(), TODAY, max_violations=records)
    with lake().select(criteria, [folder / "in-flight.txt"]) as selection, Draft(folder) as draft:
        for place, record in selection.records:
            request = request_for(record, INFERENCE)
            draft.add(place, request.line(), b"", request.input_tokens)
        draft.put_in_order()
        with (folder / "ours.jsonl").open("wb") as file:
            file.writelines(draft.lines(Span(1, 0, len(draft))))
        return len(draft)


def plain(folder: Path, records: int) -> int:
    """One query over all columns, all rows fetched, sorted and cut by DuckDB."""
    columns = ", ".join(name for name in ViolationRecord._fields if name not in ("agency", "tier"))
    union = " UNION ALL ".join(
        f"SELECT '{agency}' AS source, {columns}, bedrock_title FROM lake.silver.{agency}" for agency in AGENCIES
    )
    fatal = "(violation_details->>'$.fatalities')::DOUBLE > 0"
    age = f"date_diff('day', event_date, DATE '{TODAY}')"
    sql = (
        f"SELECT violation_id, source, CASE WHEN {fatal} OR fine_amount > 100000 OR {age} < 30 THEN 1 "
        f"WHEN fine_amount >= 50000 OR violation_type = 'Serious' OR {age} <= 90 THEN 2 ELSE 3 END AS tier, "
        f"{columns.removeprefix('violation_id, ')} FROM ({union}) WHERE bedrock_title IS NULL "
        f"AND fine_amount BETWEEN 500 AND 900000 AND event_date BETWEEN DATE '{TODAY}' - 2000 AND DATE '{TODAY}' "
        f"AND violation_type IN ('Serious', 'Willful') AND NOT {fatal} AND {age} BETWEEN 1 AND 1990 "
        f"AND violation_id NOT IN (SELECT column0 FROM read_csv('{folder}/in-flight.txt', header=false, delim='\t')) "
        f"ORDER BY tier, fine_amount DESC, event_date DESC, violation_id LIMIT {records}"
    )
    with lake(PLAIN).connected() as connection, (folder / "plain.jsonl").open("wb") as file:
        rows = connection.execute(sql).fetchall()
        for place, (violation_id, source, tier, *others) in enumerate(rows):
            record = ViolationRecord(violation_id, source, TIERS[tier - 1].name, *others)
            file.write(line_of(request_for(record, INFERENCE).model_input, place))
        return len(rows)


def measure(what: str, folder: Path, records: int) -> Measured:
    """Run ``ours`` or ``plain`` in a process of its own."""
    return Measured(**json.loads(own_process(f"measured({what!r}, {str(folder)!r}, {records})")))


def own_process(call: str) -> str:
    """The output of a function of this module. Its peak memory starts from that of this process."""
    program = f"from tools.benchmarks import lake; lake.{call}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=local_aws.REPOSITORY, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def measured(what: str, folder: str, most: int) -> None:
    """The process of ``measure``: prints its result."""
    begun = time.perf_counter()
    path = Path(folder)
    records = ours(path, most) if what == "ours" else plain(path, most)
    seconds = time.perf_counter() - begun
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "records": records}))


@contextmanager
def filled_lake(rows: int, in_flight: int) -> Iterator[Path]:
    """A local AWS of the benchmark's own with the filled lake; the folder holds the records in flight."""
    with tempfile.TemporaryDirectory(prefix="bench-lake-") as name:
        folder = Path(name)
        os.environ |= {"LOCAL_AWS_DIR": str(folder / "aws"), "LOCAL_AWS_PORT": "0"}
        local_aws.start()
        try:
            own_process(f"fill({rows})")
            (folder / "in-flight.txt").write_text("".join(f"OSHA-{number}\tosha\n" for number in range(in_flight)))
            yield folder
        finally:
            local_aws.stop()


def run() -> list[dict[str, Any]]:
    """Seconds and memory of a selection of 100,000 records out of a million rows."""
    mine, peer = measurements(ROWS, RECORDS, IN_FLIGHT, REPEATS)
    seconds, peer_seconds = [one.seconds for one in mine], [one.seconds for one in peer]
    peaks, peer_peaks = [one.peak_mb for one in mine], [one.peak_mb for one in peer]
    return [
        result("lake_selection_seconds", seconds, peer_seconds, AIM_SECONDS, "s, 100,000 records of 1,000,000"),
        result("lake_selection_peak_mb", peaks, peer_peaks, AIM_MB, "MB of the process, 100,000 records"),
    ]


def measurements(rows: int, records: int, in_flight: int, repeats: int) -> tuple[list[Measured], list[Measured]]:
    """Those of ours and of the peer. Raises AssertionError if the two files differ."""
    with filled_lake(rows, in_flight) as folder:
        mine = [measure("ours", folder, records) for _ in range(repeats)]
        peer = [measure("plain", folder, records) for _ in range(repeats)]
        assert {one.records for one in [*mine, *peer]} == {records}
        assert (folder / "ours.jsonl").read_bytes() == (folder / "plain.jsonl").read_bytes()
    return mine, peer


def result(name: str, ours: list[float], peer: list[float], aim: float, unit: str) -> dict[str, Any]:
    mine, theirs = statistics.median(ours), statistics.median(peer)
    return {
        "name": name,
        "ours": mine,
        "peer": theirs,
        "ratio": mine / theirs,
        "aim": f"<= {aim:g}",
        "met": max(ours) <= aim,
        "unit": f"{unit}; peer: one query, all fetched",
        "spread": (max(ours) - min(ours)) / mine,
    }
