"""The pages of Bedrock jobs: the list, a new one with its estimate, one job, and the content of its records."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import anyio
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from batch_processor_client import content_edits, job_export, jobs
from batch_processor_client.console import job_forms
from batch_processor_client.console.asking import Asked, ask
from batch_processor_client.console.job_forms import Section
from batch_processor_client.console.page import console_of, form_page, text_of
from batch_processor_client.errors import ApiRefusedError
from batch_processor_client.progress import money
from bedrock_batches.submit.job import JobStatus

JOBS_A_PAGE = 25
RECORDS_A_PAGE = 20
CREATING_SECONDS = 120.0
"""How long a page waits for an estimate or a creation, which reads the lake."""
READING_SECONDS = 330.0
"""How long a page waits for a reparse or an export, which read all answers of a job."""
DECIDED = frozenset({400, 422, 502})
"""Refusals after which the same request is a new one. After any other outcome, its key finds what it began."""
KEY = re.compile("[0-9a-f]{32}")
CORRECT = "Some fields are not valid. Each says what to write. Nothing was sent to Bedrock."
NOTHING_ASKED: Asked[Any] = Asked()
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NOTICES = {
    "created": "The job is created. Bedrock answers within a day; its records get their content as answers arrive.",
    "retried": "This job asks the records without content again.",
    "stop": "Stop requested. Answers that Bedrock has given already are kept.",
    "verified": "Verified. The sync brings it into the lake.",
    "edited": "Saved. The sync brings it into the lake.",
}


async def list_page(request: Request) -> Response:
    """The jobs, newest first."""
    console, query = console_of(request), request.query_params
    status, cursor = query.get("status", ""), query.get("cursor", "")
    asked = await ask(
        lambda: jobs.list_jobs(console.deployment, status=status, limit=JOBS_A_PAGE, cursor=cursor), console.patience
    )
    found = asked.answer
    more = urlencode({"status": status, "cursor": found.next_cursor}) if found and found.next_cursor else ""
    return console.page(
        "jobs.html",
        503 if asked.problem else 200,
        problem=asked.problem,
        jobs=found.jobs if found else [],
        statuses=[one.value for one in JobStatus],
        chosen=status,
        later=bool(cursor),
        more=more,
    )


# --- a new job


async def new_page(request: Request) -> Response:
    """The form of a new job; like another job's, if the address names one."""
    console, like = console_of(request), request.query_params.get("like", "")
    typed: job_forms.Typed = {}
    asked: Asked[jobs.JobDetails] = Asked()
    if like:
        asked = await ask(lambda: jobs.get_job(console.deployment, like), console.patience)
        typed = job_forms.typed_of_document(asked.answer.config if asked.answer else {}, _sections(request))
    return _show_new(request, typed, asked)


@form_page
async def new_job(request: Request, form: FormData) -> Response:
    """Estimate or create a job."""
    console, sections = console_of(request), _sections(request)
    typed = job_forms.typed_of(form, sections)
    config = job_forms.document_of(typed, sections)
    key = _key(form)
    if text_of(form, "action") != "create":
        asked = await ask(lambda: jobs.estimate(console.deployment, config), CREATING_SECONDS)
        return _show_new(request, typed, asked, key, estimate=asked.answer)
    created = await ask(lambda: jobs.create(console.deployment, config, key=_key_of(key, config)), CREATING_SECONDS)
    done = created.answer
    if done is None:
        if isinstance(created.error, ApiRefusedError) and created.error.status in DECIDED:
            key = ""
        return _show_new(request, typed, created, key)
    if done.job_id is None:
        nothing: Asked[Any] = Asked(problem=f"{done.message}: {_left_none(done)}", is_wrong=True)
        return _show_new(request, typed, nothing, nothing=done)
    return _to_job(done.job_id, "created")


def _show_new(
    request: Request,
    typed: job_forms.Typed,
    asked: Asked[Any],
    key: str = "",
    *,
    estimate: jobs.Estimate | None = None,
    nothing: jobs.Creation | None = None,
) -> Response:
    """The form with its typed texts and the result. ``key`` stays while it is not known what the request started."""
    sections = _sections(request)
    config = job_forms.document_of(typed, sections)
    problems = _problems(asked, sections)
    return console_of(request).page(
        "job_new.html",
        200 if not asked.problem else 400 if asked.is_wrong else 503,
        problem=_said(asked, problems),
        sections=sections,
        typed=typed,
        problems=problems,
        request_key=key or secrets.token_hex(16),
        request_text=json.dumps({"config": config}, ensure_ascii=False, indent=2),
        estimate=estimate,
        steps=_steps(estimate, estimate.violation_count) if estimate else _steps(nothing, 0) if nothing else [],
        held_by=estimate.held_by if estimate else nothing.held_by if nothing else [],
    )


def _problems(asked: Asked[Any], sections: list[Section]) -> dict[str, str]:
    """The API's problem with each field."""
    refused = asked.error
    return job_forms.problems_by_field(refused.problems, sections) if isinstance(refused, ApiRefusedError) else {}


def _said(asked: Asked[Any], problems: dict[str, str]) -> str:
    """The problem at the top of a page. Problems that are shown at their field are not repeated."""
    refused = asked.error
    at_fields = isinstance(refused, ApiRefusedError) and 0 < len(refused.problems) == len(problems)
    return CORRECT if at_fields else asked.problem


def _sections(request: Request) -> list[Section]:
    return job_forms.job_sections(console_of(request).deployment.lake_agencies or [])


def _steps(found: jobs.Estimate | jobs.Creation, records: int) -> list[dict[str, Any]]:
    """The funnel: the records that each step leaves, of those that the first step has."""
    left = [(job_forms.title_of(step.name), step.remaining) for step in found.filters]
    if left and records < left[-1][1]:
        left.append(("Max spend", records))
    before = [remaining for _, remaining in left[:1] + left]
    return [
        {"title": title, "remaining": remaining, "lost": before[place] - remaining}
        for place, (title, remaining) in enumerate(left)
    ]


def _left_none(done: jobs.Creation) -> str:
    return f"{job_forms.title_of(done.emptied_by or 'limits')} left none."


def _key(form: FormData) -> str:
    """The part of a request's key that its page made."""
    given = text_of(form, "request_key")
    return given if KEY.fullmatch(given) else secrets.token_hex(16)


def _key_of(key: str, body: Any) -> str:
    """The key of a request: the same page with the same fields asks for the same job, however often it is sent."""
    return f"{key}-{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]}"


# --- one job


async def job_page(request: Request) -> Response:
    """One job."""
    return await _show(request)


async def _show(
    request: Request,
    asked: Asked[Any] = NOTHING_ASKED,
    *,
    notice: str = "",
    typed: job_forms.Typed | None = None,
    key: str = "",
    reparsed: jobs.Reparsed | None = None,
) -> Response:
    """The page of a job. ``typed`` fills the form of a retry again after a ``problem``, also if the job is not read."""
    console, job_id = console_of(request), str(request.path_params["name"])
    deployment, cursor = console.deployment, request.query_params.get("cursor", "")
    answers: dict[str, Asked[Any]] = {}

    async def put(part: str, operation: Callable[[], Any]) -> None:
        answers[part] = await ask(operation, console.patience)

    async with anyio.create_task_group() as group:
        group.start_soon(put, "job", lambda: jobs.get_job(deployment, job_id))
        group.start_soon(put, "records", lambda: jobs.content_page(deployment, job_id, RECORDS_A_PAGE, cursor))
    job: jobs.JobDetails | None = answers["job"].answer
    page: jobs.ContentPage | None = answers["records"].answer
    sections = job_forms.retry_sections()
    problems = _problems(asked, sections)
    return console.page(
        "job.html",
        503 if job is None else 200 if not asked.problem else 400 if asked.is_wrong else 503,
        problem=_said(asked, problems) or answers["job"].problem,
        notice=notice or NOTICES.get(request.query_params.get("done", ""), ""),
        name=job_id,
        job=job,
        shown=_shown(job) if job else {},
        records=_records(page),
        records_problem=answers["records"].problem,
        more=urlencode({"cursor": page.next_cursor}) if page and page.next_cursor else "",
        cursor=cursor,
        config_text=json.dumps(job.config, ensure_ascii=False, indent=2) if job else "",
        sections=sections,
        shows_retry=typed is not None or (job is not None and not job.is_in_progress),
        typed=typed or {},
        problems=problems,
        request_key=key or secrets.token_hex(16),
        reparsed=reparsed,
    )


def _records(page: jobs.ContentPage | None) -> list[dict[str, Any]]:
    """Records of a page, with their content as a person edits it."""
    return [
        {"record": one, "content": content_edits.stored_content(one.record_id, one.content) if one.content else None}
        for one in (page.records if page else [])
    ]


def _shown(job: jobs.JobDetails) -> dict[str, Any]:
    """A job as the page shows it: texts by the name of their place, and the numbers of the bar."""
    counts = job.record_counts
    total, done = counts.get("total", job.violation_count), counts.get("processed", 0)
    tokens = [part for part in (job.input_tokens, job.output_tokens) if part is not None]
    cost = job.actual_cost_usd
    return {
        "texts": {
            "state": job.status,
            "done": f"{done:,} of {total:,}",
            "succeeded": f"{counts.get('succeeded', 0):,}",
            "failed": f"{counts.get('failed', 0):,}",
            "tokens": f"{sum(tokens):,}" if tokens else "–",
            "cost": _cost(job.estimate.get("costUSD")) if cost is None else money(cost),
            "bedrock": job.bedrock_status or "–",
        },
        "total": total,
        "done": done,
        "ended": not job.is_in_progress,
        "waits": False,
    }


def _cost(estimated: float | None) -> str:
    return "–" if estimated is None else f"≤ {money(estimated)}"


async def progress_json(request: Request) -> Response:
    """The progress of a job, for the script of its page."""
    console, job_id = console_of(request), str(request.path_params["name"])
    asked = await ask(lambda: jobs.get_job(console.deployment, job_id), console.patience)
    if asked.answer is None:
        return JSONResponse({"problem": asked.problem}, status_code=503)
    return JSONResponse(_shown(asked.answer))


@form_page
async def stop(request: Request, _: FormData) -> Response:
    """Stop a job."""
    console, job_id = console_of(request), str(request.path_params["name"])
    asked = await ask(lambda: jobs.stop_job(console.deployment, job_id), console.patience)
    if asked.answer is None:
        return await _show(request, asked)
    return _to_job(job_id, "stop")


@form_page
async def retry(request: Request, form: FormData) -> Response:
    """Create a job of the records that have no content."""
    console, job_id, sections = console_of(request), str(request.path_params["name"]), job_forms.retry_sections()
    typed, key = job_forms.typed_of(form, sections), _key(form)
    changes = job_forms.document_of(typed, sections)
    asked = await ask(
        lambda: jobs.retry_job(console.deployment, job_id, changes, key=_key_of(key, changes)), CREATING_SECONDS
    )
    done = asked.answer
    if done is None:
        if isinstance(asked.error, ApiRefusedError) and asked.error.status in DECIDED:
            key = ""
        return await _show(request, asked, typed=typed, key=key)
    if done.job_id is None:
        return await _show(request, notice=f"Nothing to retry: {_left_none(done)}", typed=typed)
    return _to_job(done.job_id, "retried")


@form_page
async def reparse(request: Request, form: FormData) -> Response:
    """Read a job's stored answers again: first only count, then store."""
    console, job_id = console_of(request), str(request.path_params["name"])
    store = text_of(form, "action") == "store"
    asked = await ask(lambda: jobs.reparse(console.deployment, job_id, store=store), READING_SECONDS)
    return await _show(request, asked, reparsed=asked.answer)


async def export(request: Request) -> Response:
    """All records of a job with their content, as an Excel workbook."""
    console, job_id = console_of(request), str(request.path_params["name"])
    # After a time-out, the thread still writes the file, but nobody reads it.
    folder = tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "content.xlsx"
    asked = await ask(lambda: job_export.export_job(console.deployment, job_id, path), READING_SECONDS)
    if asked.answer is None:
        folder.cleanup()
        return console.page("problem.html", 503, title="No download", problem=asked.problem)
    return _TemporaryFile(folder, path, media_type=XLSX, filename=f"{job_id}-content.xlsx")


class _TemporaryFile(FileResponse):
    """A file that is deleted after it is sent, also when the browser goes away."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str], path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._folder = folder

    async def __call__(self, *arguments: Any) -> None:
        with self._folder:
            await super().__call__(*arguments)


# --- the content of a record


async def content_page(request: Request) -> Response:
    """The content of one record, to edit."""
    return await _show_content(request, request.query_params.get("record", ""))


@form_page
async def edit_content(request: Request, form: FormData) -> Response:
    """Change the content of a record, or say that it is right."""
    console, job_id = console_of(request), str(request.path_params["name"])
    record, version = text_of(form, "record"), text_of(form, "version")
    if text_of(form, "action") == "verify":
        changes: dict[str, Any] = {"verified": True}
    else:
        tags = [tag.strip() for tag in text_of(form, "tags").splitlines() if tag.strip()]
        texts = {name: text_of(form, name) for name in ("title", "description")}
        changes = {**texts, "tags": tags, "verified": bool(text_of(form, "verified"))}
    asked = await ask(
        lambda: content_edits.edit_content(console.deployment, record, version=version, **changes), console.patience
    )
    if asked.answer is None:
        return await _show_content(request, record, asked, changes, version)
    done = "verified" if text_of(form, "action") == "verify" else "edited"
    return _to_job(job_id, done, cursor=text_of(form, "cursor"))


async def _show_content(
    request: Request,
    record: str,
    asked: Asked[Any] = NOTHING_ASKED,
    typed: dict[str, Any] | None = None,
    version: str = "",
) -> Response:
    """The page of a record. ``typed`` could not be saved over the ``version`` that the person saw."""
    console = console_of(request)
    found = await ask(lambda: content_edits.read_content(console.deployment, record), console.patience)
    stored = found.answer
    shown = {**stored.model_dump(), "verified": stored.is_verified} if stored else {"verified": False}
    is_changed = bool(typed and stored and version and version != stored.version)
    return console.page(
        "job_content.html",
        400 if asked.is_wrong else 503 if asked.problem or found.problem else 200,
        problem=asked.problem or found.problem,
        name=str(request.path_params["name"]),
        record=record,
        stored=stored,
        is_changed=is_changed,
        fields={**shown, **(typed or {})},
        version=stored.version if stored else version,
        cursor=request.query_params.get("cursor", ""),
    )


def _to_job(job_id: str, done: str, cursor: str = "") -> Response:
    query = urlencode({"done": done, **({"cursor": cursor} if cursor else {})})
    return RedirectResponse(f"/jobs/{quote(job_id, safe='')}?{query}", status_code=303)


ROUTES = (
    Route("/jobs", list_page),
    Route("/jobs/new", new_page),
    Route("/jobs/new", new_job, methods=["POST"]),
    Route("/jobs/{name}", job_page),
    Route("/jobs/{name}/progress", progress_json),
    Route("/jobs/{name}/content", content_page),
    Route("/jobs/{name}/content", edit_content, methods=["POST"]),
    Route("/jobs/{name}/content.xlsx", export),
    Route("/jobs/{name}/stop", stop, methods=["POST"]),
    Route("/jobs/{name}/retry", retry, methods=["POST"]),
    Route("/jobs/{name}/reparse", reparse, methods=["POST"]),
)
