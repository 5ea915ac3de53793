"""The pages of runs: the list, one run with its progress, and the actions on it."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any
from urllib.parse import quote, urlencode

import anyio
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from batch_processor_client import executions, heal, run_files, runs, trials
from batch_processor_client import retry as retries
from batch_processor_client import stop as stops
from batch_processor_client.console.asking import Asked, ask
from batch_processor_client.console.page import Console, attachment, console_of, form_page, text_of
from batch_processor_client.errors import ClientError
from batch_processor_client.progress import Progress, clock, money
from batch_processor_client.rows import list_rows
from row_batches.document.plan import Keys
from row_batches.rows.records import RowStatus
from row_batches.run.runs import Run, RunState

RUNS_A_PAGE = 25
ROWS_SHOWN = 10
LONG_SECONDS = 90.0
"""How long a page waits for an estimate, which is a run by itself."""
CAUSE = "cause "
"""Prefix of the form's fields for chosen causes; the id of the cause follows."""
UNSUCCESSFUL = (RowStatus.FAILED, RowStatus.TIMEOUT)


async def list_page(request: Request) -> Response:
    """The runs, newest first."""
    console, query = console_of(request), request.query_params
    state, target, cursor = query.get("state", ""), query.get("target", "").strip(), query.get("cursor", "")
    states = [RunState(state)] if state in set(RunState) else []
    asked = await ask(
        lambda: runs.list_runs(console.deployment, states=states, target=target, limit=RUNS_A_PAGE, cursor=cursor),
        console.patience,
    )
    found = asked.answer
    more = urlencode({"state": state, "target": target, "cursor": found.cursor}) if found and found.cursor else ""
    return console.page(
        "runs.html",
        503 if asked.problem else 200,
        problem=asked.problem,
        runs=found.runs if found else [],
        states=list(RunState),
        state=state,
        target=target,
        later=bool(cursor),
        more=more,
    )


async def run_page(request: Request) -> Response:
    """One run."""
    return await _show(request, _name(request))


async def _show(
    request: Request, name: str, problem: str = "", typed: dict[str, str] | None = None, notice: str = ""
) -> Response:
    """The page of a run. ``typed`` fills the forms again after a ``problem``."""
    console, deployment = console_of(request), console_of(request).deployment
    answers: dict[str, Asked[Any]] = {}

    async def put(part: str, operation: Callable[[], Any]) -> None:
        answers[part] = await ask(operation, console.patience)

    async with anyio.create_task_group() as group:
        group.start_soon(put, "run", lambda: runs.status(deployment, name))
        group.start_soon(put, "progress", lambda: console.followers.progress(name))
        group.start_soon(put, "rows", lambda: list_rows(deployment, name, limit=ROWS_SHOWN))
        group.start_soon(put, "failed", lambda: list_rows(deployment, name, statuses=UNSUCCESSFUL, limit=ROWS_SHOWN))
        group.start_soon(put, "files", lambda: run_files.list_files(deployment, name))
    run: Run | None = answers["run"].answer
    progress: Progress | None = answers["progress"].answer
    ended = progress.ending is not None if progress else run is not None and run.ended_at is not None
    diagnosis: Asked[heal.Diagnosis] = Asked()
    if ended and run is not None and run.counts.succeeded < run.total_rows:
        diagnosis = await ask(lambda: heal.diagnose(deployment, name), console.patience)
    report: Asked[Any] = Asked()
    if progress is not None and progress.approval is not None:
        report = await ask(lambda: trials.trial_report(deployment, name), console.patience)
    missing = answers["progress"].problem
    if run is not None and answers["progress"].is_wrong:
        missing = ""  # the run is older than what Step Functions remembers
    elif missing and not ended and not answers["progress"].is_wrong:
        progress = Progress(execution=name, total=run.total_rows if run else None)  # the page goes on asking
    problem = problem or missing
    return console.page(
        "run.html",
        503 if missing else 400 if problem else 200,
        problem=problem,
        notice=notice or NOTICES.get(request.query_params.get("done", ""), ""),
        name=name,
        run=run,
        progress=progress,
        shown=_shown(progress) if progress else {},
        history=console.followers.history(name),
        ended=ended,
        rows=answers["rows"],
        failed=answers["failed"],
        diagnosis=diagnosis,
        report=report.answer,
        files=answers["files"] if ended else Asked(),
        delivery=((progress.ending.document or {}) if progress and progress.ending else {}).get("delivery"),
        links=_links(console, name),
        typed=typed or {},
        chosen=[name.removeprefix(CAUSE) for name in typed or {} if name.startswith(CAUSE)],
    )


NOTICES = {
    "stop": "It starts no more rows. Rows in flight finish, then the output is written.",
    "throttle": "The limits are changed. Workers follow within ten seconds.",
    "remap": "The new output is written; it is among the files below.",
    "approve": "Approved: its other rows run.",
    "end": "It ends with the rows of its trial.",
}


async def progress_json(request: Request) -> Response:
    """The progress of a run, for the script of its page."""
    console, name = console_of(request), _name(request)
    asked = await ask(lambda: console.followers.progress(name), console.patience)
    if asked.answer is None:
        return JSONResponse({"problem": asked.problem}, status_code=503)
    return JSONResponse(_shown(asked.answer))


def _shown(progress: Progress) -> dict[str, Any]:
    """Progress as the page shows it: texts by the name of their place, and the numbers of bar and chart."""
    known = progress.total is not None
    state = progress.ending.status if progress.ending else "RUNNING"
    if progress.ending is None and progress.approval is not None:
        state = "WAITING_FOR_APPROVAL"
    left = progress.seconds_left
    return {
        "texts": {
            "state": state,
            "done": f"{progress.done:,} of {progress.total:,}" if known else "checking the input",
            "rate": f"{progress.rows_per_second:,.1f}",
            "in_flight": "–" if progress.in_flight is None else f"{progress.in_flight:,}",
            "failed": f"{progress.failed:,}",
            "left": "–" if left is None or progress.ending else clock(left),
            "cost": "–" if progress.cost_usd is None else money(progress.cost_usd),
            "notes": " · ".join(progress.notes),
        },
        "done": progress.done,
        "total": progress.total,
        "failed": progress.failed,
        "rate": round(progress.rows_per_second, 3),
        "in_flight": progress.in_flight,
        "ended": progress.ending is not None,
        "waits": progress.approval is not None,
    }


def _links(console: Console, name: str) -> dict[str, str]:
    """Pages of the AWS console about a run, by title; none for a local AWS."""
    deployment = console.deployment
    if deployment.endpoint_url is not None:
        return {}
    region = quote(deployment.region, safe="")
    home = f"https://{region}.console.aws.amazon.com"
    arn = quote(deployment.execution_arn(name), safe=":")
    prefix = quote(Keys(name).results, safe="/")
    machine = quote(deployment.batch_processor_state_machine_arn.rpartition(":")[2], safe="")
    return {
        "Step Functions": f"{home}/states/home?region={region}#/v2/executions/details/{arn}",
        "S3": f"{home}/s3/buckets/{quote(deployment.results_bucket, safe='')}?region={region}&prefix={prefix}",
        "CloudWatch": f"{home}/cloudwatch/home?region={region}#logsV2:log-groups$3FlogGroupNameFilter$3D{machine}",
    }


async def download(request: Request) -> Response:
    """A file of a run, to be saved."""
    console, name, path = console_of(request), _name(request), str(request.path_params["path"])
    asked = await ask(lambda: run_files.open_file(console.deployment, name, path), console.patience)
    if asked.answer is None:
        status = 404 if asked.is_wrong else 503
        return console.page("problem.html", status, title="No download", problem=asked.problem)
    return StreamingResponse(
        asked.answer,
        media_type=run_files.media_type_of(path),
        headers={"Content-Disposition": attachment(f"{name}-{path.replace('/', '-')}")},
    )


@form_page
async def stop(request: Request, _: FormData) -> Response:
    """Stop a run: pull the brake now, wait for its end in a thread, and stop it by force after the grace period."""
    console, name = console_of(request), _name(request)
    stages = stops.stop(console.deployment, name, f"stopped by {getpass.getuser()} in the console")
    asked = await ask(lambda: next(stages), console.patience)
    if asked.answer is None:
        return await _show(request, name, asked.problem)
    Thread(target=_finish, args=(stages,), daemon=True, name=f"stop {name}").start()
    return _done(name, "stop")


def _finish(stages: Iterator[stops.Stop]) -> None:
    """Go through the other stages. The run's page shows the outcome."""
    with suppress(Exception):  # the brake is pulled: the run ends by itself, without this console, too
        for _ in stages:
            pass


@form_page
async def throttle(request: Request, form: FormData) -> Response:
    """Change the limits of a run."""
    console, name = console_of(request), _name(request)
    typed = {field: text_of(form, field) for field in ("concurrency", "rate", "tokens")}

    def change() -> runs.Throttled:
        concurrency = _number(typed["concurrency"], "Rows in flight")
        if concurrency is not None and not concurrency.is_integer():
            raise ClientError("Rows in flight is a whole number.")
        return runs.throttle(
            console.deployment,
            name,
            concurrency=None if concurrency is None else int(concurrency),
            rows_per_minute=_number(typed["rate"], "Rows a minute"),
            tokens_per_minute=_number(typed["tokens"], "Tokens a minute"),
        )

    asked = await ask(change, console.patience)
    if asked.answer is None:
        return await _show(request, name, asked.problem, typed)
    if asked.answer.notes:
        return await _show(request, name, notice=" ".join([NOTICES["throttle"], *asked.answer.notes]))
    return _done(name, "throttle")


def _number(text: str, title: str) -> float | None:
    """A number above 0; None for an empty field. Raises ClientError."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise ClientError(f"{title} takes a number above 0.")
    return number


@form_page
async def approve(request: Request, form: FormData) -> Response:
    """Answer a run that waits after its trial."""
    console, name = console_of(request), _name(request)
    approved = text_of(form, "answer") == "approve"
    asked = await ask(lambda: trials.answer(console.deployment, name, approved=approved), console.patience)
    if asked.answer is None:
        return await _show(request, name, asked.problem)
    return _done(name, "approve" if approved else "end")


@form_page
async def retry(request: Request, form: FormData) -> Response:
    """Run the rows again that failed or never ran, or estimate the cost."""
    console, name = console_of(request), _name(request)
    dry_run, accept = text_of(form, "action") == "estimate", bool(text_of(form, "accept_version"))
    typed = {"accept_version": "1" if accept else ""}
    asked = await ask(
        lambda: retries.retry(console.deployment, name, dry_run=dry_run, accept_version=accept), LONG_SECONDS
    )
    return await _run_again(request, name, asked, typed)


@form_page
async def heal_rows(request: Request, form: FormData) -> Response:
    """Run the rows of the chosen causes again, with their cures, or estimate the cost."""
    console, name = console_of(request), _name(request)
    chosen = [str(one) for one in form.getlist("cause")]
    dry_run, accept = text_of(form, "action") == "estimate", bool(text_of(form, "accept_version"))
    typed = {"heal_accept_version": "1" if accept else "", **{f"{CAUSE}{one}": "1" for one in chosen}}

    def start() -> retries.Retry:
        if not chosen:
            raise ClientError("Choose the causes to heal.")
        diagnosis = heal.diagnose(console.deployment, name)
        causes = heal.choose(diagnosis, chosen)
        return heal.heal(console.deployment, diagnosis, causes, dry_run=dry_run, accept_version=accept)

    return await _run_again(request, name, await ask(start, LONG_SECONDS), typed)


async def _run_again(request: Request, name: str, asked: Asked[retries.Retry], typed: dict[str, str]) -> Response:
    """The new run's page, or the old one's with the estimate."""
    done = asked.answer
    if done is None:
        return await _show(request, name, asked.problem, typed)
    if not done.rows:
        notice = f"Nothing to run: all {done.total_rows:,} rows succeeded."
        return await _show(request, name, typed=typed, notice=notice)
    if not done.dry_run:
        return RedirectResponse(f"/runs/{quote(done.execution, safe='')}", status_code=303)
    best, worst = done.estimate["best_usd"], done.estimate["worst_usd"]
    notice = f"{done.rows:,} of {done.total_rows:,} rows would run, for {money(best)} to {money(worst)}."
    return await _show(request, name, typed=typed, notice=" ".join([notice, *done.warnings]))


def _done(name: str, what: str) -> Response:
    return RedirectResponse(f"/runs/{quote(name, safe='')}?done={what}", status_code=303)


def _name(request: Request) -> str:
    """The name of the run in the address."""
    return executions.name_of(str(request.path_params["name"]))


ROUTES = (
    Route("/runs", list_page),
    Route("/runs/{name}", run_page),
    Route("/runs/{name}/progress", progress_json),
    Route("/runs/{name}/download/{path:path}", download),
    Route("/runs/{name}/stop", stop, methods=["POST"]),
    Route("/runs/{name}/throttle", throttle, methods=["POST"]),
    Route("/runs/{name}/approve", approve, methods=["POST"]),
    Route("/runs/{name}/retry", retry, methods=["POST"]),
    Route("/runs/{name}/heal", heal_rows, methods=["POST"]),
)
