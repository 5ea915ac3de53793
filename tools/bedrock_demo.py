"""The second half of the demo: a Bedrock batch through the admin API, from the lake and back into it."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from tools import local_aws, report
from tools.admin_api import AdminApi
from tools.errors import CommandError
from tools.outputs import Deployment
from tools.progress import clock
from tools.seed_lake import lake_of, seed

VIOLATIONS = local_aws.REPOSITORY / "examples" / "violations" / "violations.csv"
CONFIG = {"filters": {"agencies": ["osha"], "minFineAmount": 50000}, "limits": {"maxSpendUSD": 5}}
LONGEST_SECONDS = 180
ROWS_SHOWN = 3
SHOWN = ("violation_id", "fine_amount", "bedrock_title")


def run_bedrock_batch(console: Console, deployment: Deployment) -> None:
    """Seed the lake, create a job, wait for it, show its content in the table and in the lake."""
    console.rule("[bold]bedrock batch[/bold]", align="left")
    console.print(
        "Records of a lake are chosen by filters and budget and sent through Bedrock batch inference; what is "
        "generated comes back into DynamoDB and, through its stream, into the lake."
    )
    lake = lake_of(deployment)
    loaded = seed(lake, VIOLATIONS)
    records = sum(agency.inserted + agency.existing for agency in loaded.values())
    console.print(f"  The lake: {records:,} violations of {len(loaded)} agencies", highlight=False)
    api = AdminApi(
        str(deployment.bedrock_output("admin_api_url")), deployment.region, local_aws.session(deployment.region)
    )
    estimate = _answer(api, "POST", "/admin/bedrock/batch/estimate", {"config": CONFIG})["estimate"]
    console.print(
        f"  The estimate: {estimate['violationCount']} violations, {estimate['costUSD']:.4f} USD", highlight=False
    )
    job = _follow(console, api, _answer(api, "POST", "/admin/bedrock/batch", {"config": CONFIG})["jobId"])
    if job["status"] != "Completed":
        raise CommandError(f"The job ended {job['status']}: {job.get('message', '')}")
    rows = _merged(lake, job["violationCount"])
    console.print(report.rows_table([_texts(row) for row in rows[:ROWS_SHOWN]], list(SHOWN)))
    stats = job["stats"]
    console.print(
        f"{stats['processed']} records with content, {stats['errors']} errors; {len(rows)} rows of the lake have it",
        highlight=False,
    )
    console.print(
        f"Content: DynamoDB table {deployment.outputs['violations_table']}; lake table silver.osha\n", highlight=False
    )


def _texts(row: tuple[Any, ...]) -> dict[str, str]:
    return dict(zip(SHOWN, map(str, row), strict=True))


def _follow(console: Console, api: AdminApi, job_id: str) -> dict[str, Any]:
    begun = time.monotonic()
    with console.status(f"Job {job_id}") as status:
        while True:
            job = _answer(api, "GET", f"/admin/bedrock/batch/{job_id}")
            if job["status"] != "InProgress":
                break
            if time.monotonic() - begun > LONGEST_SECONDS:
                raise CommandError(f"Job {job_id} still runs after {LONGEST_SECONDS} s.")
            status.update(f"Job {job_id}: {job.get('bedrockStatus', 'being created')}")
            time.sleep(0.5)
    console.print(f"  Job {job_id}: {job['status']} after {clock(time.monotonic() - begun)}", highlight=False)
    return job


def _merged(lake: Any, count: int) -> list[tuple[Any, ...]]:
    """The lake's rows with generated content, as soon as all of them have it."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        with lake.connected() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                "SELECT violation_id, fine_amount, bedrock_title FROM lake.silver.osha "
                "WHERE bedrock_title IS NOT NULL ORDER BY fine_amount DESC"
            ).fetchall()
        if len(rows) >= count:
            return rows
        if time.monotonic() > deadline:
            raise CommandError(f"Only {len(rows)} of {count} records reached the lake.")
        time.sleep(0.5)


def _answer(api: AdminApi, method: str, path: str, body: Any = None) -> dict[str, Any]:
    status, answer = api.request(method, path, body)
    if status not in {200, 202}:
        raise CommandError(f"{method} {path} answered {status}: {answer}")
    return answer
