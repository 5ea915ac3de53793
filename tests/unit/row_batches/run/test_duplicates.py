"""Rows with equal inputs are sent once, and every one of them has the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InvalidInputError
from row_batches.document.plan import EarlierExecution, Keys, Plan
from row_batches.rows.store import RowRange
from row_batches.run import duplicates, fan_out
from row_batches.run.batch import Batches
from row_batches.run.duplicates import Originals, find_duplicates
from row_batches.run.earlier_execution import Earlier, Ended
from row_batches.run.end_messages import AggregateAction
from row_batches.run.remap import remap
from tests.support.batches import deduplicated, make_plan, sent_items
from tests.support.fakes import FakeDeadline
from tests.support.tool_runs import SAID, ToolRuns

COLUMNS = ("note", "text")
MAPPING = {
    "input_mapping": {"column_mappings": {"text": "text"}},
    "output_mapping": SAID,
}


class World(ToolRuns):
    """Runs of rows with a note, which the tool does not get."""

    def plan(
        self, texts: Sequence[str], *, execution: str = "run-1", deduplicate: bool = True, **document: Any
    ) -> Plan:
        rows = [[f"note {row}", text] for row, text in enumerate(texts, 1)]
        settings = {"retry_policy": {"max_attempts": 1}} | document.pop("execution_config", {})
        plan = make_plan(
            rows, COLUMNS, store=self.store, execution=execution, execution_config=settings, **{**MAPPING, **document}
        )
        return deduplicated(plan, self.store) if deduplicate else plan

    def aggregated(self, plan: Plan) -> list[dict[str, str]]:
        assert self.ask(plan).done
        return self.output(plan)


# --- finding them


def found(texts: Sequence[str | None]) -> tuple[int, list[int]]:
    """The number of distinct rows, and the original of each row."""
    rows = [(row, [text or ""]) for row, text in enumerate(texts, 1)]

    def digest(cells: Sequence[str]) -> bytes | None:
        return None if cells[0] == "" else cells[0].encode().ljust(32, b"\0")

    with find_duplicates(rows, digest, len(rows)) as index:
        body = b"".join(index.chunks())
        assert [index.is_original(row) for row, _ in rows] == [
            not any(body[at : at + 4]) for at in range(0, 4 * len(rows), 4)
        ]
        return index.distinct_rows, [
            int.from_bytes(body[4 * row - 4 : 4 * row]) or row for row in range(1, len(rows) + 1)
        ]


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=40), st.integers(1, 7))
def test_the_original_of_a_row_is_the_first_with_its_input_however_often_it_is_spilled(
    texts: list[str | None], at_once: int
) -> None:
    expected = [row if text is None else texts.index(text) + 1 for row, text in enumerate(texts, 1)]
    before = duplicates.ROWS_SORTED_AT_ONCE
    duplicates.ROWS_SORTED_AT_ONCE = at_once
    try:
        distinct, originals = found(texts)
    finally:
        duplicates.ROWS_SORTED_AT_ONCE = before

    assert originals == expected
    assert distinct == len(set(expected))


def test_more_rows_than_the_function_can_compare_are_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_ROWS", 2)

    with pytest.raises(InvalidInputError, match="up to 2 rows, and the input has 3"):
        found(["a", "b", "c"])


def test_gaps_are_cut_where_rows_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    plan = world.plan(["a", "b", "a", "c", "b", "a", "d"])

    gaps = Originals(world.store, plan).sent([RowRange(2, 4), RowRange(5, 7)])

    assert list(gaps) == [(2, 2), (4, 4), (7, 7)]


def test_inputs_that_are_all_different_are_sent_as_without_it() -> None:
    plan = World().plan(["a", "b", "c"])

    assert (plan.distinct, plan.rows_sent) == (None, 3)


# --- running them


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=30), st.sets(st.sampled_from("abc")))
def test_the_output_is_as_without_and_each_input_is_called_once(texts: list[str], failing: set[str]) -> None:
    world = World(failing=failing)
    plain = world.plan(texts, execution="plain", deduplicate=False)
    world.work(plain)
    expected = world.aggregated(plain)
    expected_failed = world.store.objects[plain.keys.failed_rows]
    world.letters.letters.clear()
    plan = world.plan(texts)

    world.work(plan)

    assert sorted(world.called) == sorted(set(texts))
    assert world.ask(plan, AggregateAction.FIND_MISSING).missing == 0
    assert world.aggregated(plan) == expected
    # A failed row names its execution. All else in the file is the same.
    assert world.store.objects[plan.keys.failed_rows].replace(b",run-1,", b",plain,") == expected_failed
    summary = world.summary(plan)
    failed = [row for row, text in enumerate(texts, 1) if text in failing]
    assert sorted(letter["row"] for letter in world.letters.letters) == failed
    assert (summary["total_rows"], summary["distinct_rows"]) == (len(texts), len(set(texts)))
    assert (summary["failed"], summary["attempts"], summary["resumed"]) == (len(failed), len(set(texts)), 0)
    assert summary["savings"] == {"deduplicate": {"calls": len(texts) - len(set(texts)), "usd": None}}


def test_the_duplicates_of_a_row_that_nobody_finished_fail_with_its_reason() -> None:
    world = World()
    plan = world.plan(["a", "b", "a", "b", "c"])
    world.work(plan, but=["b"])

    missing = world.ask(plan, AggregateAction.FIND_MISSING)
    rows = world.aggregated(plan)

    assert missing.missing == 1, "the original alone gets a second pass"
    assert [(row["_row_id"], row["_status"], row["said"]) for row in rows] == [
        ("1", "SUCCESS", "A"),
        ("2", "FAILED", ""),
        ("3", "SUCCESS", "A"),
        ("4", "FAILED", ""),
        ("5", "SUCCESS", "C"),
    ]
    assert rows[1]["_error_message"] == rows[3]["_error_message"]
    assert world.summary(plan)["failed"] == 2
    world.store.reads.clear()
    assert world.ask(plan).done
    assert not [key for key in world.store.reads if key.startswith(plan.keys.rows)], "nothing is left to fan out"


def test_stop_after_counts_rows_that_were_sent() -> None:
    texts = ["bad", "a", "bad", "bad", "b"]
    one_more = World(failing={"bad"})
    plan = one_more.plan(texts, execution_config={"stop_after": {"failed_rows": 2}})
    one_more.work(plan)
    assert len(one_more.aggregated(plan)) == 5
    assert one_more.summary(plan)["error"] == ""

    world = World(failing={"bad"})
    plan = world.plan(texts, execution_config={"stop_after": {"failed_percent": 30}})
    assert Batches(world.store, world.clock).open(plan.keys.plan).failure_limit == 1, "of three distinct rows"
    world.work(plan)
    world.aggregated(plan)
    assert world.summary(plan)["error"] == "RowFailedError"
    assert world.summary(plan)["brake"]["reason"] == "stop_after was reached: 1 failed rows"


def test_answers_that_do_not_fit_at_once_come_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "SPOOL_BYTES", 1)
    world = World()
    texts = ["a", "b", "c", "a", "b", "c", "a"]
    plan = world.plan(texts)
    world.work(plan)

    assert [row["said"] for row in world.aggregated(plan)] == [text.upper() for text in texts]


def test_a_call_that_has_no_time_left_goes_on_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "FLUSH_ROWS", 1)
    world = World()
    plan = world.plan(["a", "b", "a", "b"])
    world.work(plan)

    first = world.ask(plan, AggregateAction.AGGREGATE, FakeDeadline(1.0))

    assert not first.done
    assert plan.keys.output not in world.store.objects
    assert [row["said"] for row in world.aggregated(plan)] == ["A", "B", "A", "B"]


def test_calls_too_short_to_read_every_answer_finish_the_duplicates_together() -> None:
    world = World()
    texts = ["a", "b", "c", "c", "b", "a"]
    plan = world.plan(texts)
    for item in sent_items(plan, world.store):
        world.work(plan, items=[item])
    answers = [plan.keys.rows_object(row, row) for row in (1, 2, 3)]

    for first, finished in enumerate((6, 5, 4)):
        world.store.reads.clear()
        done = world.ask(plan, AggregateAction.AGGREGATE, FakeDeadline(fan_out.WRITE_SECONDS))
        assert not done.done
        assert plan.keys.rows_object(finished, finished) in world.store.objects
        assert not set(answers[:first]) & set(world.store.reads), "what is done is not read again"

    assert [row["said"] for row in world.aggregated(plan)] == [text.upper() for text in texts]


def test_remap_and_resume_know_duplicates_as_any_other_row() -> None:
    world = World(failing={"b"})
    texts = ["a", "b", "a", "b"]
    plan = world.plan(texts)
    world.work(plan)
    world.aggregated(plan)

    again = {"output_mapping": {"columns": [{"name": "answer", "source": "$.said", "default": "none"}]}}
    remapped = remap("run-1", again, objects=world.store, clock=world.clock)
    assert [row["answer"] for row in world.output(plan, remapped.key)] == ["A", "none", "A", "none"]

    world.failing.clear()
    for deduplicate, calls in ((True, ["b"]), (False, ["b", "b"])):
        name = f"resumed-{deduplicate}"
        resumed = world.plan(texts, execution=name, deduplicate=deduplicate)
        earlier = [EarlierExecution(name="run-1", batch_size=plan.concurrency.batch_size)]
        resumed = resumed.model_copy(update={"resume_from": earlier})
        world.store.put(Keys(name).plan, resumed.model_dump_json().encode())
        world.work(resumed)
        assert world.called == calls
        assert [row["said"] for row in world.aggregated(resumed)] == ["A", "B", "A", "B"]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_duplicates_that_were_written_together_are_taken_over_by_a_batch_that_sends_each_row(batch_size: int) -> None:
    world = World()
    texts = ["a", *["b"] * 6]
    plan = world.plan(texts, batch_size=batch_size)
    world.work(plan)
    world.aggregated(plan)
    assert plan.keys.rows_object(3, 7) in world.store.objects, "more rows than a child has"

    earlier = Earlier(plan, Ended(total_rows=7, succeeded=7, not_attempted=0)).executions(7)
    resumed = world.plan(texts, execution="resumed", deduplicate=False, batch_size=batch_size)
    resumed = resumed.model_copy(update={"resume_from": earlier})
    world.store.put(resumed.keys.plan, resumed.model_dump_json().encode())
    called = []
    for item in sent_items(resumed, world.store):
        world.work(resumed, items=[item])
        called += world.called

    assert called == []


def test_duplicates_that_fail_make_a_run_no_cheaper_than_the_row_that_was_sent() -> None:
    def cost(texts: Sequence[str], **settings: bool) -> dict[str, Any]:
        world = World(failing={"bad"})
        plan = world.plan(texts, execution_config=settings)
        world.work(plan)
        world.aggregated(plan)
        return dict(world.summary(plan)["cost"]["parts"])

    texts = ["bad"] * 100
    assert cost(texts, deduplicate=True)["dynamodb"] >= cost(texts[:1])["dynamodb"]
