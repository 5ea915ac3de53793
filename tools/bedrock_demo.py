"""The second half of the demo: a Bedrock batch through the admin API, from the lake and back into it."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console

from batch_processor_client.admin_api import AdminApi
from batch_processor_client.cli import report
from batch_processor_client.deployment import Deployment
from batch_processor_client.lake import lake_of, seed
from batch_processor_client.progress import clock
from bedrock_batches.select.duckdb_ import Lake
from tools import local_aws
from tools.errors import CommandError

VIOLATIONS = local_aws.REPOSITORY / "examples" / "violations" / "violations.csv"
CONFIG = {
    "filters": {"agencies": ["osha"], "minFineAmount": 50000},
    "limits": {"maxSpendUSD": 5},
    # Earlier demos can leave fewer records than the minimum of a batch job.
    "batch": {"onDemandBelowMinimum": True},
}
LONGEST_SECONDS = 180
ROWS_SHOWN = 3
SHOWN = ("violation_id", "fine_amount", "bedrock_title")


class Requests(Protocol):
    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """``AdminApi.request``."""


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
    api = AdminApi(deployment.bedrock(deployment.admin_api_url), deployment.region, deployment.session())
    generate(console, api, lake)
    console.print(f"Content: DynamoDB table {deployment.violations_table}; lake table silver.osha\n", highlight=False)


def generate(console: Console, api: Requests, lake: Lake) -> None:
    """Estimate and create a job, wait for it, show its rows. If no records are left, show rows of earlier jobs."""
    estimate = _finished(api, _answer(api, "POST", "/admin/bedrock/batch/estimate", {"config": CONFIG}))["estimate"]
    console.print(
        f"  The estimate: {estimate['violationCount']} violations, {estimate['costUSD']:.4f} USD", highlight=False
    )
    before = len(_with_content(lake))
    # With force, because a demo that runs again within minutes selects what the previous one left.
    created = _answer(api, "POST", "/admin/bedrock/batch", {"config": CONFIG, "force": True})
    if "jobId" in created:
        job = _follow(console, api, created["jobId"])
        if job["status"] != "Completed":
            raise CommandError(f"The job ended {job['status']}: {job.get('message', '')}")
        stats = job["stats"]
        rows = _merged(lake, before + stats["processed"])
        told = f"{stats['processed']} records with content, {stats['errors']} errors"
    else:
        rows, told = _with_content(lake), f"No record is left for a new job (see {created['emptiedBy']})"
    console.print(report.rows_table([_texts(row) for row in rows[:ROWS_SHOWN]], list(SHOWN)))
    console.print(f"{told}; {len(rows)} rows of the lake have content", highlight=False)


def _texts(row: tuple[Any, ...]) -> dict[str, str]:
    return dict(zip(SHOWN, map(str, row), strict=True))


def _finished(api: Requests, answer: dict[str, Any]) -> dict[str, Any]:
    """The finished estimate; the API can return one that is still running."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while "estimate" not in answer:
        if answer.get("status") == "Failed" or time.monotonic() > deadline:
            raise CommandError(f"There is no estimate: {answer.get('message', '')}")
        time.sleep(0.5)
        answer = _answer(api, "GET", f"/admin/bedrock/batch/{answer['jobId']}")
    return answer


def _follow(console: Console, api: Requests, job_id: str) -> dict[str, Any]:
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


def _merged(lake: Lake, count: int) -> list[tuple[Any, ...]]:
    """The lake's rows with generated content, as soon as there are ``count``."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while len(rows := _with_content(lake)) < count:
        if time.monotonic() > deadline:
            raise CommandError(f"Only {len(rows)} of {count} records reached the lake.")
        time.sleep(0.5)
    return rows


def _with_content(lake: Lake) -> list[tuple[Any, ...]]:
    with lake.connected() as connection:
        return connection.execute(
            "SELECT violation_id, fine_amount, bedrock_title FROM lake.silver.osha "
            "WHERE bedrock_title IS NOT NULL ORDER BY fine_amount DESC"
        ).fetchall()


def _answer(api: Requests, method: str, path: str, body: Any = None) -> dict[str, Any]:
    status, answer = api.request(method, path, body)
    if status not in {200, 202}:
        raise CommandError(f"{method} {path} answered {status}: {answer}")
    return answer
