"""An execution as its workers use it: the plan, the compiled mappings and the objects."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

import orjson

from foundation.json_text import render_json
from foundation.ports import Clock, ObjectStore
from foundation.problems import listed
from row_batches.document.header import replaced_columns
from row_batches.document.plan import EarlierExecution, Plan
from row_batches.files.csv_writer import RowRenderer
from row_batches.files.ports import OutputObjects
from row_batches.files.staged_copy import unescaped
from row_batches.mapping.mapping_in import InputMapper, compile_input_mapping
from row_batches.mapping.mapping_out import MappedRow, OutputMapper, compile_output_mapping
from row_batches.mapping.metadata_columns import RowFacts
from row_batches.rows.proof_rows import row_proof
from row_batches.rows.records import AnsweredRow, FinishedRow, RowOrigin, RowRecord, RowStatus, Usage
from row_batches.rows.store import RowStore
from row_batches.rows.stores import RowStores
from row_batches.rows.work import Work, load_plan
from row_batches.run.answer_cache import AnswerCache
from row_batches.run.blanks import unmatched_columns
from row_batches.run.pace import Allowance, Pace
from row_batches.run.runs import Live
from row_batches.run.traces import SegmentSink
from row_batches.targets.answer import TOKENS
from row_batches.targets.kind import RowCall, TargetKind
from row_batches.targets.kinds import kind_of
from row_batches.targets.notes import OFF_PROTOCOL
from row_batches.targets.pricing import priced, row_usd
from row_batches.targets.protocol import Outcome, refused_off_protocol, refused_unmatched

DEAD_LETTER_BYTES = 200_000
"""A larger dead letter names an object that holds its input, because SQS accepts 256 KiB from every client."""
MOST_BATCHES_KEPT = 4
EXAMPLE_CHARACTERS = 120
"""The summary shows this much of an answer that does not follow the protocol."""
MOST_COLUMNS_NAMED = 3
"""The message of a row that failed for missing columns names up to this many."""


def input_hash(row_input: Mapping[str, Any], *, sort_keys: bool = True) -> str:
    """The hash of the mapped input. The order of the keys does not matter, except in rows of form 1."""
    return hashlib.sha256(render_json(row_input, sort_keys=sort_keys).encode()).hexdigest()


def no_outputs() -> NoReturn:
    """Stands in for the users' buckets in functions that copy no results."""
    raise AssertionError("this function copies no results")


class Batch:
    """A plan with its compiled mappings. It is compiled once and used for every row. Safe in several threads.

    ``stores`` is needed if the finished rows are not in ``objects``.
    """

    def __init__(
        self,
        plan: Plan,
        objects: ObjectStore,
        clock: Clock,
        stores: RowStores | None = None,
        cache: AnswerCache | None = None,
        segments: SegmentSink | None = None,
        outputs: Callable[[], OutputObjects] = no_outputs,
    ) -> None:
        self.plan = plan
        self.cache = cache
        """Answers of other batches; None in functions that call no target."""
        self.segments = segments
        """Takes traces; None in functions that call no target."""
        self.outputs = outputs
        """Gives the users' buckets that results are copied to, for functions that write results."""
        self.work = Work(objects, plan.keys, clock)
        self._stores = stores or RowStores(objects, clock)
        self.refreshed_ms = 0
        """When this process last read what the run may use. A new process reads it before its first row."""
        self.live = Live()
        """The limits that were read last."""
        self._staged_columns = [f"c{number}" for number in range(1, len(plan.columns) + 1)]

    @cached_property
    def rows(self) -> RowStore:
        """The finished rows of this execution."""
        plan = self.plan
        return self._stores.open(
            plan.execution.name, plan.storage, batch_size=plan.concurrency.batch_size, columns=plan.columns
        )

    def rows_of(self, earlier: EarlierExecution) -> RowStore:
        """The finished rows of an execution that this one resumes."""
        return self._stores.open(earlier.name, earlier.storage, batch_size=earlier.batch_size)

    @cached_property
    def kind(self) -> TargetKind:
        return kind_of(self.plan.target)

    @property
    def allowance(self) -> Allowance:
        """The concurrency and rate of the whole run, as planned."""
        concurrency, rate = self.plan.concurrency, self.plan.config.execution_config.rate
        return Allowance(
            concurrency.children * concurrency.threads,
            None if rate is None else rate.rows_per_minute,
            None if rate is None else rate.tokens_per_minute,
        )

    @cached_property
    def pace(self) -> Pace:
        """The pace of this process at the run; it outlives a call of the function."""
        return Pace(self.allowance.share(self.plan.concurrency.children), self.work.clock)

    def call(self, row: int, attempt: int) -> RowCall:
        """An attempt at a row."""
        plan = self.plan
        return RowCall(plan.execution.name, plan.target.name, row, plan.total_rows, attempt)

    @cached_property
    def input_mapper(self) -> InputMapper:
        config, columns = self.plan.config, self.plan.columns
        replaced = replaced_columns(config, columns)
        return compile_input_mapping(config.input_mapping, columns, replaced, self.plan.marked_columns)

    @cached_property
    def output_mapper(self) -> OutputMapper:
        return compile_output_mapping(self.plan.config.output_mapping)

    @cached_property
    def renderer(self) -> RowRenderer:
        return RowRenderer.of_plan(self.plan)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the objects that a user reads."""
        return {
            "execution_id": self.plan.execution.name,
            "batch_name": self.plan.config.batch_name,
            "target": self.plan.target.name,
        }

    @property
    def has_brake_of_its_own(self) -> bool:
        """Whether rows of the run can pull the brake, so that workers read it before each row."""
        return self.failure_limit is not None or self.cost_limit is not None

    @property
    def cost_limit(self) -> float | None:
        """The cost of the target in US dollars that stops the run; None: no limit."""
        return self.plan.config.execution_config.cost_limit

    @property
    def failure_limit(self) -> int | None:
        """The number of failed rows that stops the run; None: no limit. Duplicates do not count."""
        return self.plan.config.execution_config.failure_limit(self.plan.rows_sent)

    def cells(self, item: Mapping[str, str]) -> list[str]:
        """The user's cells of a staged row, in the order of ``plan.columns``."""
        return [unescaped(item[column]) for column in self._staged_columns]

    def read_kept(self, answer: Any) -> Outcome:
        """The outcome of a stored answer, from this execution or another execution of the same target."""
        return self.kind.read_kept(answer)

    def outcome_of(self, answered: AnsweredRow) -> Outcome:
        """The outcome of a finished row, judged again by this batch's document."""
        if answered.status is not RowStatus.SUCCESS and not answered.unmatched:
            return Outcome(answered.status, error_name=answered.error_name, error_message=answered.error)
        return self.read_kept(answered.answer)

    def finish(
        self,
        row: int,
        cells: Sequence[str],
        outcome: Outcome,
        *,
        row_hash: str,
        attempts: int,
        throttles: int = 0,
        started_ms: int,
        ended_ms: int,
        usage: Usage | None = None,
        throttled_ms: int = 0,
        target_version: str | None = None,
        origin: RowOrigin | None = None,
    ) -> FinishedRow:
        """The row's record, with its finished CSV text.

        ``usage`` is the sum over its attempts. ``target_version`` is given if another version than the plan's answered.
        """
        outcome, mapped = self._map_out(outcome)
        facts = RowFacts(
            execution=self.plan.execution.name,
            row=row,
            status=outcome.status.value,
            error_message=outcome.error_message,
            attempts=attempts,
            started_ms=started_ms,
            ended_ms=ended_ms,
            extraction=mapped.extraction,
            **self._spent(usage or {}, attempts),
        )
        record: RowRecord = {
            "row": row,
            "status": outcome.status,
            "hash": row_hash,
            "attempts": attempts,
            "throttles": throttles,
            "started_ms": started_ms,
            "duration_ms": ended_ms - started_ms,
            "worker_ms": 0,
            "worker_calls": 0,
            "cast_failures": mapped.cast_failures,
            "target_version": str(self.plan.target.answering_version) if target_version is None else target_version,
            "csv": self.renderer.render(cells, mapped.values, facts),
        }
        answer = render_json(outcome.answer)
        record["proof"] = row_proof(cells, answer.encode(), record["csv"])
        if outcome.notes:
            record["notes"] = dict(outcome.notes)
            if OFF_PROTOCOL.name in outcome.notes:
                record["off_protocol"] = answer[:EXAMPLE_CHARACTERS]
        if mapped.missing:
            record["missing"], record["answer_keys"] = list(mapped.missing), mapped.answer_keys
        if mapped.extraction:
            record["extraction"] = mapped.extraction
        if usage:
            record["usage"] = usage
        if throttled_ms:
            record["throttled_ms"] = throttled_ms
        if origin is not None:
            record["origin"] = origin
        if outcome.status is not RowStatus.SUCCESS:
            record["error"] = outcome.error_message
            if outcome.error_name:
                record["error_name"] = outcome.error_name
            record["failed_csv"] = self.renderer.render_failed(cells, outcome.error_message)
        return FinishedRow(cells, record, answer.encode())

    def finish_uncalled(
        self,
        row: int,
        cells: Sequence[str],
        outcome: Outcome,
        *,
        at_ms: int | None = None,
        row_hash: str = "",
        target_version: str | None = None,
        origin: RowOrigin | None = None,
    ) -> FinishedRow:
        """``finish`` for a row that the target is not called for: it has no attempt, and begins and ends ``at_ms``.

        Without ``at_ms``, that is now.
        """
        ended_ms = self.work.clock.now_ms() if at_ms is None else at_ms
        return self.finish(
            row,
            cells,
            outcome,
            row_hash=row_hash,
            attempts=0,
            started_ms=ended_ms,
            ended_ms=ended_ms,
            target_version=target_version,
            origin=origin,
        )

    def _spent(self, usage: Usage, attempts: int) -> dict[str, Any]:
        """The tokens and the cost of a row, as ``RowFacts`` has them."""
        tokens = {name: sum(int(used[name]) for used in usage.values()) for name in TOKENS} if usage else {}
        return {**tokens, "cost_usd": row_usd(self.plan.target, usage, attempts)}

    def priced(self, usage: Usage) -> Usage:
        """The usage of one answer with its cost, if that is known."""
        return priced(usage, self.plan.target)

    def _map_out(self, outcome: Outcome) -> tuple[Outcome, MappedRow]:
        """The outcome of the row after the document's rules for answers, and its cells."""
        config = self.plan.config
        if outcome.status is not RowStatus.SUCCESS:
            return outcome, MappedRow(self.output_mapper.defaults(), {})
        mapped = self.output_mapper.map(outcome.answer, outcome.payload)
        if OFF_PROTOCOL.name in outcome.notes:
            if mapped.extracted:  # the extraction methods are the protocol of such an answer
                notes = {name: count for name, count in outcome.notes.items() if name != OFF_PROTOCOL.name}
                outcome = replace(outcome, notes=notes)
            elif config.execution_config.off_protocol == "fail_row":
                return refused_off_protocol(outcome), MappedRow(self.output_mapper.defaults(), {})
        if not mapped.missing or config.output_mapping.on_missing == "default":
            return outcome, mapped
        missing = dict.fromkeys(mapped.missing, 1)
        said = [column.message for column in unmatched_columns(config.output_mapping, 1, missing, mapped.answer_keys)]
        advice = "correct output_mapping and run make remap, or change what the target answers"
        message = f"{listed(said, MOST_COLUMNS_NAMED)}; {advice}"
        defaults = self.output_mapper.defaults()
        return refused_unmatched(outcome, message), mapped._replace(values=defaults, cast_failures={})

    def dead_letter(
        self, row: int, cells: Sequence[str], status: RowStatus, error: str, attempts: int
    ) -> dict[str, Any]:
        """The dead letter of a row. A long input is kept in an object that the letter names."""
        letter: dict[str, Any] = {
            "execution_id": self.plan.execution.name,
            "batch_name": self.plan.config.batch_name,
            "target": self.plan.target.name,
            "row": row,
            "status": status,
            "error": error,
            "attempts": attempts,
            "input": dict(zip(self.plan.columns, cells, strict=True)),
        }
        if len(orjson.dumps(letter)) > DEAD_LETTER_BYTES:
            key = f"{self.work.keys.oversized}{row:012d}.json"
            self.work.objects.put(key, orjson.dumps(letter.pop("input")))
            letter["input_s3_uri"] = f"s3://{self.work.objects.bucket}/{key}"
        return letter


class Batches:
    """Opens the batch of a plan. A worker that handles more rows of the same plan reads and compiles it once.

    The arguments are those of ``Batch``.
    """

    def __init__(
        self,
        objects: ObjectStore,
        clock: Clock,
        stores: RowStores | None = None,
        cache: AnswerCache | None = None,
        segments: SegmentSink | None = None,
        outputs: Callable[[], OutputObjects] = no_outputs,
    ) -> None:
        self.objects = objects
        self.clock = clock
        self._batch_of: Callable[[Plan], Batch] = lambda plan: Batch(
            plan, objects, clock, stores, cache, segments, outputs
        )
        self._opened: dict[str, Batch] = {}

    def open(self, plan_key: str) -> Batch:
        """Open the batch and set the execution's log level. Raises ``DeploymentError`` if there is no such plan."""
        batch = self._opened.get(plan_key)
        if batch is None:
            batch = self._batch_of(load_plan(self.objects, plan_key))
            if len(self._opened) >= MOST_BATCHES_KEPT:
                del self._opened[next(iter(self._opened))]
            self._opened[plan_key] = batch
        level = batch.plan.config.execution_config.effective_log_level
        if level is not None:
            logging.getLogger("batch_processor").setLevel(level)
        return batch
