"""From the lake, through batch inference, back into the lake, behind the admin API."""

from __future__ import annotations

import csv
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError as RefusedByAwsError
from playwright.sync_api import expect
from python_calamine import CalamineWorkbook

from batch_processor_client import content_edits, jobs
from batch_processor_client.deployment import Deployment as Outputs
from batch_processor_client.errors import ApiRefusedError
from batch_processor_client.lake import RAW_COLUMNS, seed
from batch_processor_client.resync import Resync, merge
from bedrock_batches.select.duckdb_ import Lake, aws_lake
from emulator.testing import bedrock_fault
from tests.support.admin_api import AdminApi
from tests.support.console import chromium_browser, needs_chromium, served_console
from tests.support.deployment import Deployment, scaled
from tests.support.iam import client_with, session_with
from tests.support.lake import example_records, rows_of
from tests.support.local_aws import REPOSITORY

SEED = REPOSITORY / "examples" / "violations" / "violations.csv"


def lake_as(deployment: Deployment, session: boto3.Session) -> Lake:
    """The deployment's lake, with the credentials of the session."""
    return aws_lake(
        deployment.outputs["lake_table_bucket_arn"],
        deployment.outputs["lake_namespace"],
        deployment.outputs["lake_agencies"],
        session=session,
        endpoint_url=None if deployment.local_aws is None else deployment.local_aws.endpoint_url,
    )


@pytest.fixture(scope="module")
def lake(deployment: Deployment) -> Lake:
    """The lake with the example's violations, loaded by somebody who has the policy for it and no other."""
    with session_with(deployment, deployment.outputs["lake_operator_policy_json"]) as operator:
        seed(lake_as(deployment, operator), SEED)
    session = boto3.Session(region_name=deployment.outputs["region"])
    return lake_as(deployment, session if deployment.local_aws is None else deployment.local_aws.session())


@pytest.fixture(scope="module")
def api(deployment: Deployment) -> AdminApi:
    session = boto3.Session() if deployment.local_aws is None else deployment.local_aws.session()
    return AdminApi(deployment, session)


def expected(where: str) -> set[str]:
    """Ids that a plain SQL over the seed CSV gives."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT violation_id FROM read_csv('{SEED}', all_varchar = true) WHERE {where}"
        ).fetchall()
    return {row[0] for row in rows}


def requested(deployment: Deployment, job: dict[str, Any]) -> list[str]:
    """The violation ids of the job's records."""
    bucket, found = deployment.outputs["data_bucket"], []
    pages = deployment.s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=f"bedrock-batches/input/{job['jobId']}/"
    )
    for page in pages:
        for item in page.get("Contents", []):
            if item["Key"].endswith(".txt"):
                lines = deployment.read(bucket, item["Key"]).decode().split("\n")
                found += [line.split("\t")[0] for line in lines if line]
    return found


def contents(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """The content items of VentureOS-Violations, by violation id."""
    pages = (
        deployment.client("dynamodb").get_paginator("scan").paginate(TableName=deployment.outputs["violations_table"])
    )
    return {item["PK"]["S"].removeprefix("VIOLATION#"): item for page in pages for item in page["Items"]}


def until(deployment: Deployment, check: Callable[[], bool], what: str, timeout_seconds: float = 0) -> None:
    """Wait for content in the lake: as long as the environment's, or longer."""
    deadline = time.monotonic() + max(timeout_seconds, deployment.waits.content)
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(deployment.waits.poll)


def generated(lake: Lake) -> set[str]:
    """Ids of the lake's rows that have generated content."""
    with lake.connected() as connection:
        return {
            row[0]
            for agency in lake.agencies
            for row in connection.execute(
                f"SELECT violation_id FROM {lake.location.schema}.{agency} WHERE bedrock_title IS NOT NULL"
            ).fetchall()
        }


def raw_rows(lake: Lake) -> dict[str, list[tuple[Any, ...]]]:
    """Every row without its generated columns."""
    return {agency: [row[:11] for row in rows] for agency, rows in rows_of(lake).items()}


@pytest.fixture(scope="module")
def first_job(deployment: Deployment, lake: Lake, api: AdminApi) -> dict[str, Any]:
    """The usual batch: osha violations of 50,000 and more."""
    before = raw_rows(lake)
    job = api.create({"filters": {"agencies": ["OSHA"], "minFineAmount": 50000}, "limits": {}})
    job = api.wait(job["jobId"])
    assert job["status"] == "Completed", job
    until(deployment, lambda: len(generated(lake)) >= job["violationCount"], "not every record reached the lake")
    assert raw_rows(lake) == before, "another column or row of the lake changed"
    return job


def test_a_job_takes_exactly_the_records_of_its_filters_and_brings_content_for_each(
    deployment: Deployment, lake: Lake, first_job: dict[str, Any]
) -> None:
    wanted = expected("agency = 'osha' AND try_cast(fine_amount AS decimal(18, 2)) >= 50000")
    assert len(wanted) >= 150
    taken = requested(deployment, first_job)
    assert len(taken) == len(set(taken))
    assert set(taken) == wanted
    assert first_job["violationCount"] == len(wanted)
    assert first_job["stats"] == {"processed": len(wanted), "errors": 0, "total": len(wanted)}
    items = contents(deployment)
    assert set(items) >= wanted
    one = items[min(wanted)]
    assert one["attribution"]["S"] == "Generated by AWS Bedrock (Batch)"
    assert one["title_bedrock"]["S"]
    assert generated(lake) == wanted


def test_a_second_job_with_the_same_filters_finds_nothing_and_says_which_filter_left_none(
    api: AdminApi, first_job: dict[str, Any]
) -> None:
    status, answer = api.ask({"filters": {"agencies": ["osha"], "minFineAmount": 50000}})
    assert status == 200
    assert answer["message"] == "No violations to process"
    assert answer["violationCount"] == 0


def test_the_same_event_again_and_at_once_changes_nothing(
    deployment: Deployment, lake: Lake, api: AdminApi, first_job: dict[str, Any]
) -> None:
    bucket = deployment.outputs["data_bucket"]
    keys = [
        item["Key"]
        for item in deployment.s3.list_objects_v2(
            Bucket=bucket, Prefix=f"bedrock-batches/output/{first_job['jobId']}/"
        )["Contents"]
        if item["Key"].endswith(".jsonl.out")
    ]
    etag = deployment.s3.head_object(Bucket=bucket, Key=keys[0])["ETag"].strip('"')
    event = {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": bucket}, "object": {"key": keys[0], "eTag": etag}},
            }
        ]
    }
    before = contents(deployment)
    functions = deployment.client("lambda")
    name = f"ventureos-bedrock-batch-result{deployment.suffix}"

    def deliver() -> None:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents(deployment) == before
    assert api.job(first_job["jobId"])["stats"] == first_job["stats"]


def test_a_job_settles_when_the_lake_has_its_content_and_its_answers_can_be_read_again(
    deployment: Deployment, api: AdminApi, first_job: dict[str, Any]
) -> None:
    functions = deployment.client("lambda")

    def call(function: str, event: dict[str, Any]) -> dict[str, Any]:
        name = f"ventureos-bedrock-{function}{deployment.suffix}"
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, document
        return document

    # When the clock's call comes, Then the job settles
    healed = call("sync", {"heal": True})
    assert healed["replayed"]["failed"] == 0
    assert first_job["jobId"] in healed["settled"] or "settledAt" in api.job(first_job["jobId"])
    # And of its answers none is left to read
    read = call("batch-result", {"reparse": {"jobId": first_job["jobId"], "dryRun": True}})
    assert (read["answers"], read["read"], read["complete"]) == (0, 0, True)


@pytest.mark.parametrize(
    "filters",
    [
        {"agencies": ["osha' OR 1=1 --"]},
        {"violationTypes": ["Serious'; DROP TABLE osha; --"]},
        {"minFineAmount": -1},
        {"dateRange": {"start": "2026-02-01", "end": "2026-01-01"}},
        {"minFineAmount": "50000; --"},
    ],
    ids=["agency", "type", "negative", "end before start", "not a number"],
)
def test_hostile_filters_are_bound_or_refused_and_the_lake_is_unharmed(
    lake: Lake, api: AdminApi, filters: dict[str, Any]
) -> None:
    before = rows_of(lake)
    status, answer = api.ask({"filters": filters}, "/admin/bedrock/batch/estimate")
    assert status in {200, 400}, answer
    if status == 200:
        assert answer["violationCount"] == 0
    assert rows_of(lake) == before


def test_an_estimate_creates_nothing_and_null_means_absent(api: AdminApi, lake: Lake) -> None:
    before = api.request("GET", "/admin/bedrock/batch/jobs")[1]["jobs"]
    config = {"filters": {"agencies": ["msha"], "minFineAmount": None}, "limits": {"maxViolations": 150}}
    status, answer = api.ask(config, "/admin/bedrock/batch/estimate")
    assert status == 200, answer
    assert answer["message"] == "Cost estimation complete"
    assert answer["dryRun"] is True
    assert answer["violationCount"] == 150
    assert answer["estimate"]["costUSD"] > 0
    assert api.request("GET", "/admin/bedrock/batch/jobs")[1]["jobs"] == before


def test_too_few_records_are_refused_with_the_shortfall_or_run_at_once(api: AdminApi, lake: Lake) -> None:
    config: dict[str, Any] = {"filters": {"agencies": ["epa"]}, "limits": {"maxViolations": 5}}
    _, answer = api.ask(config)
    assert "95" in json.dumps(answer), answer
    job = api.create({**config, "batch": {"onDemandBelowMinimum": True}})
    job = api.wait(job["jobId"])
    assert job["status"] == "Completed", job
    assert job["stats"]["processed"] == 5


@pytest.mark.local_only("Bedrock cannot be told to fail")
@pytest.mark.parametrize(("fault", "status"), [("fail", "Failed"), ("expire", "Failed")])
def test_a_job_that_ends_badly_says_so(
    deployment: Deployment, lake: Lake, api: AdminApi, fault: str, status: str
) -> None:
    assert deployment.local_aws is not None
    with bedrock_fault(deployment.local_aws.endpoint_url, fault):
        job = api.create({"filters": {"agencies": ["nhtsa"]}, "limits": {"maxViolations": 100}})
        job = api.wait(job["jobId"])
    assert job["status"] == status
    assert job["bedrockStatus"] in {"Failed", "Expired"}
    assert job["message"]


@pytest.mark.local_only("Bedrock cannot be told to fail")
def test_half_of_a_stopped_job_is_kept_and_retry_makes_a_job_of_the_other_half(
    deployment: Deployment, lake: Lake, api: AdminApi
) -> None:
    assert deployment.local_aws is not None
    with bedrock_fault(deployment.local_aws.endpoint_url, "stop_half"):
        job = api.create({"filters": {"agencies": ["faa"]}, "limits": {"maxViolations": 220}})
        job = api.wait(job["jobId"])
    taken = set(requested(deployment, job))
    kept: set[str] = set()

    def is_told() -> bool:
        kept.update(taken & set(contents(deployment)))
        return bool(kept) and api.job(job["jobId"])["stats"]["processed"] == len(kept)

    until(deployment, is_told, "stats do not tell what was kept")
    assert len(kept) < len(taken)
    status, answer = api.request("POST", f"/admin/bedrock/batch/{job['jobId']}/retry")
    assert status in {200, 202}, answer
    again = api.wait(answer["jobId"])
    assert again["status"] == "Completed", again
    assert set(requested(deployment, again)) == taken - kept
    assert taken <= set(contents(deployment))


def test_two_creates_at_once_never_take_a_record_twice(deployment: Deployment, lake: Lake, api: AdminApi) -> None:
    config = {"filters": {"agencies": ["uscg"]}, "limits": {"maxViolations": 100}}
    jobs: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: jobs.append(api.create(config))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [api.wait(job["jobId"]) for job in jobs if "jobId" in job]
    taken = [record for job in ended for record in requested(deployment, job)]
    assert len(taken) == len(set(taken))


@contextmanager
def with_quotas(deployment: Deployment, **quotas: int) -> Iterator[None]:
    """The functions that submit jobs have these quotas inside this context."""
    functions, before = deployment.client("lambda"), {}
    names = [f"ventureos-bedrock-{name}{deployment.suffix}" for name in ("batch-processor", "job-events")]
    for name in names:
        before[name] = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    try:
        for name in names:
            changed = {**before[name], "QUOTAS": json.dumps({**json.loads(before[name]["QUOTAS"]), **quotas})}
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
        yield
    finally:
        for name in names:
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": before[name]})


def write_violations(path: Path, count: int, violation_type: str) -> None:
    """A CSV of made-up violations of one type."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()
        for number in range(count):
            violation_id = f"{violation_type}-{number:06}"
            writer.writerow({"violation_id": violation_id, "agency": "msha", "violation_type": violation_type})


def test_a_job_over_the_quotas_is_cut_into_balanced_parts_that_wait_for_one_another(
    deployment: Deployment, lake: Lake, api: AdminApi, tmp_path: Path
) -> None:
    count, quota = scaled(120_050, 302), scaled(50_000, 110)
    sizes = [count // 3, *[count // 3 + 1] * 2]
    violation_type = f"parts-{uuid.uuid4().hex[:8]}"
    write_violations(tmp_path / "violations.csv", count, violation_type)
    seed(lake, tmp_path / "violations.csv")
    with with_quotas(deployment, records_per_job=quota, concurrent_jobs=2):
        job = api.create({"filters": {"violationTypes": [violation_type]}, "limits": {"maxViolations": count}})
        table = deployment.client("dynamodb")

        def parts() -> list[dict[str, Any]]:
            found = table.query(
                TableName=deployment.outputs["bedrock_jobs_table"],
                KeyConditionExpression="PK = :job AND begins_with(SK, :part)",
                ExpressionAttributeValues={":job": {"S": f"JOB#{job['jobId']}"}, ":part": {"S": "PART#"}},
            )
            return list(found["Items"])

        assert sorted(int(part["recordCount"]["N"]) for part in parts()) == sizes
        job = api.wait(job["jobId"], timeout_seconds=scaled(3_600, 900))
    assert job["status"] == "Completed", job
    assert job["stats"] == {"processed": count, "errors": 0, "total": count}
    # By Bedrock's times: ours of an end is when it was heard of.
    bedrock = deployment.client("bedrock")
    jobs = [bedrock.get_model_invocation_job(jobIdentifier=part["jobArn"]["S"]) for part in parts()]
    submitted = sorted(one["submitTime"] for one in jobs)
    assert submitted[2] >= min(one["endTime"] for one in jobs), "the third part did not wait for one of the others"

    def merged() -> bool:
        with lake.connected() as connection:
            (found,) = connection.execute(
                f"SELECT count(bedrock_title) FROM {lake.location.schema}.msha WHERE violation_type = $type",
                {"type": violation_type},
            ).fetchall()
        return found == (count,)

    until(deployment, merged, "not all content reached the lake", scaled(3_600, 0))


def test_an_idempotency_key_gives_the_same_job_again(api: AdminApi, lake: Lake) -> None:
    config = {"filters": {"agencies": ["fra"]}, "limits": {"maxViolations": 100}}
    key = str(uuid.uuid4())
    first = api.request("POST", "/admin/bedrock/batch", {"config": config}, {"Idempotency-Key": key})[1]
    second = api.request("POST", "/admin/bedrock/batch", {"config": config}, {"Idempotency-Key": key})[1]
    assert first["jobId"] == second["jobId"]
    assert api.wait(first["jobId"])["status"] == "Completed"


def test_an_edit_by_hand_reaches_the_lake_and_is_not_overwritten(
    deployment: Deployment, lake: Lake, first_job: dict[str, Any]
) -> None:
    # Given somebody who looks, and somebody who operates
    violation, job = min(requested(deployment, first_job)), first_job["jobId"]
    reader, operator = deployment.outputs["reader_policy_json"], deployment.outputs["operator_policy_json"]
    with client_with(deployment, reader) as client:
        assert jobs.get_job(client, job).status == "Completed"
        assert violation in [record.record_id for record in jobs.content(client, job, 10_000)]
        assert jobs.estimate(client, {"filters": {"agencies": ["fra"]}}).violation_count
        with pytest.raises(RefusedByAwsError, match="AccessDenied"):
            content_edits.edit_content(client, violation, title="x")
        with pytest.raises(ApiRefusedError, match="403"):
            jobs.stop_job(client, job)
    # When the second one corrects and verifies a text
    with client_with(deployment, reader, operator) as client:
        content_edits.edit_content(client, violation, title="Corrected by hand", verified=True)
        assert jobs.reparse(client, job, store=False).read == 0

    # Then it reaches the lake
    def title() -> str:
        with lake.connected() as connection:
            row = connection.execute(
                f"SELECT bedrock_title FROM {lake.location.schema}.osha WHERE violation_id = $id", {"id": violation}
            ).fetchone()
        return str(row and row[0])

    until(deployment, lambda: title() == "Corrected by hand", "the correction did not reach the lake")


@pytest.mark.local_only("it creates a job of on-demand records, as the test of too few records does")
@needs_chromium
def test_in_the_browser_a_job_goes_from_its_filters_to_verified_content_in_the_lake(
    deployment: Deployment, lake: Lake, api: AdminApi
) -> None:
    # Given the console of the deployment in a browser
    outputs = Outputs.model_validate(deployment.outputs)
    with served_console(outputs) as address, chromium_browser() as browser:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("link", name="Bedrock jobs").click()
        page.get_by_role("link", name="New job").click()
        # When filters are typed, estimated, and made a job
        page.get_by_label("fra", exact=True).check()
        page.get_by_label("Max violations").fill("6")
        page.get_by_role("heading", name="Batch", exact=True).click()
        page.get_by_label("On demand below minimum").select_option("true")
        page.get_by_role("button", name="Estimate").click()
        expect(page.get_by_role("heading", name="What each filter leaves")).to_be_visible(timeout=120_000)
        assert str(len(rows_of(lake)["fra"])) in page.locator(".funnel li").first.inner_text()
        page.get_by_role("button", name="Create the job").click()
        expect(page.get_by_role("status")).to_contain_text("The job is created", timeout=120_000)
        # Then its page follows it to its end, with content for each record
        expect(page.get_by_role("button", name="Read the answers again")).to_be_visible(timeout=180_000)
        expect(page.locator("[data-text=succeeded]")).to_have_text("6")
        expect(page.get_by_role("link", name="Export to Excel")).to_be_visible()
        # And what a person corrects and verifies there reaches the lake
        row = page.locator("table.records tbody tr").first
        violation = row.locator("th bdi").inner_text()
        row.locator("td.text a").first.click()
        page.get_by_label("Title").fill("Corrected in the browser")
        page.get_by_label("I verified it").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("Saved.")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export to Excel").click()
        book = CalamineWorkbook.from_path(str(download.value.path())).get_sheet_by_name("Content").to_python()
    assert len(book) == 7
    assert "Corrected in the browser" in book[1]

    def merged() -> tuple[Any, ...]:
        with lake.connected() as connection:
            row = connection.execute(
                f"SELECT bedrock_title, is_verified FROM {lake.location.schema}.fra WHERE violation_id = $id",
                {"id": violation},
            ).fetchone()
        return row or ()

    until(deployment, lambda: merged() == ("Corrected in the browser", True), "the correction did not reach the lake")


def test_wrong_bodies_unknown_jobs_and_strangers_are_refused(
    deployment: Deployment, api: AdminApi, stranger: AdminApi
) -> None:
    status, answer = api.request(
        "POST", "/admin/bedrock/batch", {"config": {"filters": {"minFine": 1}, "limits": {"maxPercent": 0}}}
    )
    assert status == 400
    assert "minFineAmount" in json.dumps(answer)
    assert "maxPercent" in json.dumps(answer)
    assert api.request("GET", "/admin/bedrock/batch/batch-1700000000-00000000")[0] == 404
    assert AdminApi(deployment, None).request("GET", "/admin/bedrock/batch/jobs")[0] == 403
    assert stranger.request("GET", "/admin/bedrock/batch/jobs")[0] == 403


@pytest.fixture
def stranger(deployment: Deployment) -> Iterator[AdminApi]:
    """A role that has no right to the API."""
    with session_with(deployment) as session:
        yield AdminApi(deployment, session)


def test_the_lakes_operator_needs_no_more_than_its_policy(deployment: Deployment, lake: Lake) -> None:
    endpoint = None if deployment.local_aws is None else deployment.local_aws.endpoint_url
    with session_with(deployment, deployment.outputs["lake_operator_policy_json"]) as operator:
        loaded = seed(lake_as(deployment, operator), SEED)
        storage = operator.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
        functions = operator.client("lambda", endpoint_url=endpoint, config=Config(read_timeout=330))
        function = deployment.outputs["bedrock_function_names"]["bedrock_sync"]
        steps = list(merge(Resync(storage, functions, deployment.outputs["data_bucket"], function)))
    assert sum(agency.existing for agency in loaded.values()) == len(example_records())
    assert [step for step in steps if not step.complete] == []


def test_the_seed_holds_what_the_examples_need() -> None:
    records = example_records()
    assert len(records) >= 2_000
    assert {record["agency"] for record in records} == {"osha", "msha", "nhtsa", "faa", "uscg", "fra", "epa"}
