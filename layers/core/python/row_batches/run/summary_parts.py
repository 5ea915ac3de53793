"""The parts of the summary that come from the sums over all rows."""

from foundation.problems import listed
from row_batches.document.plan import Plan, StorageMode
from row_batches.run.cost import actual_cost, run_usage
from row_batches.run.totals import Totals
from row_batches.targets.answer import MOST_USED, tokens_of
from row_batches.targets.notes import NOTES, OFF_PROTOCOL
from row_batches.targets.pricing import known_model_usd
from row_batches.targets.usage import RunCounts
from row_batches.targets.worker_kind import START_SECONDS


def cost_of(plan: Plan, totals: Totals, *, stopped: bool = False, traces: int = 0) -> dict[str, object]:
    """The cost of the counted work (``run.cost.actual_cost``).

    ``stopped`` says that the run was stopped from outside, before all children began. Each worker counts as a child of
    its own, even if it continued a child after 15 minutes. Killed workers are not counted, because their time is not
    known.
    """
    settings = plan.config.execution_config
    # Cached rows that failed count like rows that cannot be mapped: they have no call, but a dead letter.
    cached = totals.cached - totals.cached_failures
    run = totals.attempted - totals.resumed - totals.duplicates - cached - totals.left
    counts = RunCounts(
        rows=run,
        attempts=totals.attempts,
        retries=totals.retries,
        failed_rows=totals.all_failed - totals.died - totals.failed_duplicates - totals.left,
        unmapped_rows=totals.unmapped,
        throttles=totals.throttles,
        idle_rows=totals.resumed + totals.left + cached + totals.died + (0 if stopped else totals.not_attempted),
        batch_size=plan.concurrency.batch_size,
        rows_objects=totals.rows_objects,
        write_units=totals.write_units,
        children=0 if plan.storage.mode is StorageMode.INLINE else totals.worker_calls,
        # Waits are not counted. With a rate, each row counts as one that waited.
        waits=0 if settings.rate is None else run,
        worker_calls=totals.worker_calls,
        answers_sought=totals.attempted - totals.duplicates if settings.cache_days else 0,
        answers_kept=totals.answered if settings.keeps_answers else 0,
        worker_seconds=totals.worker_ms / 1000 + totals.worker_calls * START_SECONDS,
        traces=traces,
    )
    usage = run_usage(
        plan.target, counts, plan.storage, total_rows=plan.total_rows, staged_bytes=plan.staged.size_bytes
    )
    return actual_cost(usage, plan.target, known_model_usd(plan.target, totals.usage))


def warnings_of(plan: Plan, totals: Totals) -> list[str]:
    """The warnings of the plan, then those about the rows."""
    warnings = [*plan.warnings, *totals.blanks.warnings(plan.config.output_mapping, totals.succeeded)]
    if totals.cast_failures:
        # Warnings go into notifications, so they show no samples, which are users' values.
        columns = [f"{name} {failures.count:,}" for name, failures in totals.cast_failures_by_column.items()]
        warnings.append(
            f"{totals.cast_failures:,} values could not be cast to their column's type and hold its default instead"
            + (f": {listed(columns)} (samples in cast_failures_by_column)" if columns else "")
        )
    warnings += [f"{totals.notes[note.name]:,} {note.warning}" for note in NOTES if note.name in totals.notes]
    now = str(plan.target.answering_version)
    for version, count in sorted(totals.target_versions.items()):
        if version != now:
            warnings.append(
                f"{count:,} answers were taken over from version {version} of {plan.target.name}, which is version "
                f"{now} now"
            )
    if plan.target.prices is None:
        for model, tokens in unpriced_tokens(totals).items():
            if tokens:
                named = f"the model {model}" if model else "a model that the answers do not name"
                warnings.append(
                    f"The cost leaves out {tokens:,} tokens of {named}: their price is not known. Give the target "
                    f"{plan.target.name} its prices in the Terraform variable targets."
                )
    if totals.unsent_letters:
        rows = ", ".join(map(str, totals.unsent_rows))
        more = ", …" if totals.unsent_letters > len(totals.unsent_rows) else ""
        warnings.append(
            f"The dead-letter queue did not take the letters of {totals.unsent_letters:,} failed rows: {rows}{more}. "
            f"They are in failed_rows.csv, with their errors. The last refusal: {totals.letters_refusal}"
        )
    return warnings


def missing_by_column(plan: Plan, totals: Totals) -> dict[str, dict[str, object]]:
    """Each mapped column that matched nothing in some rows, for the summary."""
    unmatched = totals.blanks.unmatched(plan.config.output_mapping, totals.succeeded)
    return {
        column.column: {
            "source": column.source,
            "matched": column.matched,
            "rows": column.rows,
            "keys": column.keys,
            "closest": column.closest or None,
        }
        for column in unmatched
    }


def off_protocol(totals: Totals) -> dict[str, object]:
    """How many answers do not follow the target's protocol, with the start of the first one, for the summary."""
    count = totals.notes.get(OFF_PROTOCOL.name, 0)
    return {
        "count": count,
        "example_row": totals.off_protocol_row or None,
        "example": totals.off_protocol_example or None,
    }


def savings(plan: Plan, totals: Totals) -> dict[str, dict[str, float | None]]:
    """The calls that were saved, by setting, and their price if the registry has the price of a call."""
    price = plan.target.cost_per_call_usd
    settings = plan.config.execution_config
    saved = {"deduplicate": totals.duplicates} if settings.deduplicate else {}
    if settings.cache_days is not None:
        saved["cache_days"] = totals.cached
    return {
        name: {"calls": calls, "usd": None if price is None else round(calls * price, 8)}
        for name, calls in saved.items()
    }


def throttling(totals: Totals, cost: dict[str, object]) -> dict[str, object]:
    """The cost of throttling: refused calls, seconds that rows paused, and their share of the workers' cost.

    A pausing row keeps its place in a worker, and the worker's time is paid for.
    """
    parts = cost["parts"]
    lambda_usd = parts.get("lambda", 0.0) if isinstance(parts, dict) else 0.0
    share = min(1.0, totals.throttled_ms / totals.processing_ms) if totals.processing_ms else 0.0
    return {
        "calls": totals.throttles,
        "paused_seconds": totals.throttled_ms / 1000,
        "cost_usd": round(lambda_usd * share, 6),
    }


def unpriced_tokens(totals: Totals) -> dict[str, int]:
    """The tokens of models whose cost is not known, by model (``""`` for answers that name none)."""
    return {model: tokens_of({model: used}) for model, used in totals.usage.items() if not used["cost_usd"]}


def usage_of_run(totals: Totals) -> dict[str, object]:
    """The usage that the answers of all attempts reported, in total and by model if they name one.

    ``cost_usd`` includes the tokens of answers that report no cost, if their price is known.
    """
    sums: dict[str, int | float] = dict.fromkeys(MOST_USED, 0)
    for used in totals.usage.values():
        for name, number in used.items():
            sums[name] += number
    return {**sums, "by_model": {model: used for model, used in totals.usage.items() if model}}
