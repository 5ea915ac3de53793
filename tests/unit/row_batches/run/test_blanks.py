"""Mapped columns that match nothing: counted, named with the keys that the answers have, judged by the document."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.mapping.mapping_out import compile_output_mapping
from row_batches.mapping.models import OutputMapping
from row_batches.rows.records import RowStatus
from row_batches.run.aggregate_results import aggregate_results
from row_batches.run.blanks import MOST_PLACES, MOST_WARNINGS, Blanks
from row_batches.run.end_messages import AggregateAction, AggregateRequest
from row_batches.run.runs import Run
from row_batches.run.tool_messages import ToolRowsResponse
from tests.support.batches import KEYS, json_of
from tests.support.fakes import FakeMetrics, FakeOwnership, FakeRedrives
from tests.unit.row_batches.run.test_process_tool_rows import Worker, row_of


def mapping(**columns: str) -> OutputMapping:
    return OutputMapping.model_validate(
        {"columns": [{"name": name, "source": source} for name, source in columns.items()]}
    )


def blanks_of(*rows: tuple[list[str], dict[str, list[str]]]) -> Blanks:
    blanks = Blanks()
    for missing, keys in rows:
        blanks.add(missing, keys, RowStatus.SUCCESS)
    return blanks


def answers(*contents: Any) -> Any:
    """A tool that gives row 1 the first content, and so on, the last to all others."""

    def answer(payload: bytes, _: float = 0) -> bytes:
        content = contents[min(row_of(payload), len(contents)) - 1]
        sent = orjson.loads(payload)
        return orjson.dumps({"type": "tool_result", "tool_use_id": sent["id"], "content": content})

    return answer


GOOD = {"sentiment": "good", "score": 1, "words": 7}
COLUMNS = [
    {"name": "mood", "source": "$.sentimnet", "default": "unknown"},
    {"name": "score", "source": "$.score", "type": "number"},
]


def test_a_column_that_matches_nothing_is_named_with_the_keys_and_the_closest() -> None:
    blanks = blanks_of(*[(["mood"], {"$": ["sentiment", "score", "words"]})] * 300)

    assert blanks.warnings(mapping(mood="$.sentimnet", score="$.score"), 300) == [
        "Column mood: $.sentimnet matched 0 of 300; the answers have sentiment, score, words. Did you mean $.sentiment?"
    ]


def test_a_column_is_named_when_it_matched_in_fewer_than_half() -> None:
    blanks = blanks_of(*[(["mood"], {"$": ["score"]})] * 5)

    assert blanks.warnings(mapping(mood="$.mood"), 10) == []
    (warning,) = blanks.warnings(mapping(mood="$.mood"), 9)
    assert warning == "Column mood: $.mood matched 4 of 9; the answers have score"


def test_the_closest_key_is_looked_for_where_the_path_ends() -> None:
    blanks = blanks_of((["down", "up"], {"$.speeds": ["download", "upload"], "$": ["speeds"]}))

    (down, up) = blanks.unmatched(mapping(down="$.speeds.downlod", up="$..uplaod"), 1)

    assert (down.place, down.closest) == ("$.speeds", "$.speeds.download")
    assert (up.place, up.closest) == ("$", "")


def test_a_path_that_can_match_many_gets_the_closest_name_too() -> None:
    (found,) = blanks_of((["all"], {"$": ["items"]})).unmatched(mapping(all="$.itmes[*].n"), 1)

    assert found.closest == "$.items[*].n"


def test_of_very_many_columns_the_first_are_named_and_the_others_counted() -> None:
    names = [f"c{number}" for number in range(100)]

    warnings = blanks_of((names, {"$": ["a"]})).warnings(mapping(**dict.fromkeys(names, "$.x")), 1)

    assert len(warnings) == MOST_WARNINGS + 1
    assert warnings[-1] == f"{100 - MOST_WARNINGS} more columns matched in fewer than half of the answers"


@given(st.lists(st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=40)), max_size=30))
def test_what_is_kept_of_keys_is_bounded(rows: list[dict[str, list[str]]]) -> None:
    blanks = blanks_of(*[(["mood"], keys) for keys in rows])

    assert len(blanks.keys) <= MOST_PLACES
    assert all(len(counts) <= 30 for counts in blanks.keys.values())


# --- from worker to summary


def test_a_wrong_source_is_in_progress_and_in_the_summary() -> None:
    worker = Worker(answers(GOOD), output_mapping={"columns": COLUMNS})
    worker.run()

    # While the run goes on
    run = worker.runs.get(worker.plan.execution.name)
    assert run is not None
    (column,) = run.mostly_empty(worker.plan.config.output_mapping)
    assert (column.column, column.matched, column.rows, column.closest) == ("mood", 0, 7, "$.sentiment")
    # At its end
    summary = summary_of(worker)
    assert summary["missing_by_column"] == {
        "mood": {
            "source": "$.sentimnet",
            "matched": 0,
            "rows": 7,
            "keys": ["sentiment", "score", "words"],
            "closest": "$.sentiment",
        }
    }
    assert any(warning.startswith("Column mood: $.sentimnet matched 0 of 7;") for warning in summary["warnings"])


def summary_of(worker: Worker) -> dict[str, Any]:
    """The summary of a worker's run, which is put together."""
    aggregate_results(
        AggregateRequest(action=AggregateAction.AGGREGATE, plan_key=KEYS.plan),
        batches=worker.batches,
        dead_letters=worker.dead_letters,
        metrics=FakeMetrics(),
        ownership=FakeOwnership(worker.clock, worker.leases, worker.runs),
        redrives=FakeRedrives(),
        clock=worker.clock,
        deadline=worker.deadline,
    )
    summary: dict[str, Any] = json_of(worker.store.objects[KEYS.summary])
    return summary


def test_nothing_is_said_of_the_first_few_rows_while_a_run_goes_on() -> None:
    worker = Worker(answers(GOOD), output_mapping={"columns": COLUMNS})
    worker.run(1, 4)

    run = worker.runs.get(worker.plan.execution.name)
    assert run is not None
    assert run.mostly_empty(worker.plan.config.output_mapping) == []


def test_a_run_of_fewer_rows_is_judged_when_all_are_there() -> None:
    blanks = blanks_of(*[(["mood"], {"$": ["a"]})] * 2)
    run = Run.of_plan(Worker(rows=[["1", "a"], ["2", "b"]]).plan)
    seen = run.model_copy(update={"blanks": blanks, "counts": run.counts.model_copy(update={"succeeded": 2})})

    assert [column.column for column in seen.mostly_empty(mapping(mood="$.mood"))] == ["mood"]


def test_with_fail_row_the_row_fails_by_column_and_path_and_keeps_its_answer() -> None:
    worker = Worker(
        answers({"sentimnet": "good", "score": 2}, GOOD), output_mapping={"columns": COLUMNS, "on_missing": "fail_row"}
    )

    response = worker.run()

    assert response == ToolRowsResponse(succeeded=1, failed=6)
    record = worker.records[1]
    assert record["error"] == (
        "column mood: $.sentimnet matches nothing, the answer has sentiment, score, words (did you mean $.sentiment?); "
        "correct output_mapping and run make remap, or change what the target answers"
    )
    assert record["answer"]["content"] == GOOD
    assert len(worker.invoker.calls) == 7, "a row that fails for its mapping is not called again"
    summary = summary_of(worker)
    assert summary["missing_by_column"]["mood"]["rows"] == 7
    assert (summary["succeeded"], summary["failed"]) == (1, 6)


@pytest.mark.parametrize("policy", ["accept", "fail_row"])
def test_an_answer_outside_the_protocol_is_counted_and_fails_its_row_where_it_is_not_accepted(policy: str) -> None:
    def answer(payload: bytes, _: float = 0) -> bytes:
        return b'{"errorMessage":"no such user"}' if row_of(payload) % 2 else answers(GOOD)(payload)

    worker = Worker(answer, execution_config={"off_protocol": policy})

    response = worker.run()

    assert (response.succeeded, response.failed) == ((7, 0) if policy == "accept" else (3, 4))
    summary = summary_of(worker)
    example = {"count": 4, "example_row": 1, "example": '{"errorMessage":"no such user"}'}
    assert summary["off_protocol"] == example
    assert len(worker.invoker.calls) == 7
    (warning,) = [warning for warning in summary["warnings"] if "protocol" in warning]
    assert "no such user" not in warning, "warnings go into notifications"
    if policy == "fail_row":
        assert worker.records[0]["error"].startswith("the answer does not follow the target's protocol")


def test_the_example_of_an_answer_is_short() -> None:
    worker = Worker(lambda _, __=0: orjson.dumps(["x" * 100_000]))
    worker.run()

    assert len(summary_of(worker)["off_protocol"]["example"]) == 120


@pytest.mark.parametrize("policy", ["accept", "fail_row"])
def test_an_answer_of_which_the_extraction_methods_read_a_field_is_not_outside_the_protocol(policy: str) -> None:
    def answer(payload: bytes, _: float = 0) -> bytes:
        found = {"structured_output": {"mood": "good"}}
        return orjson.dumps({"errorMessage": "no such user"} if row_of(payload) == 1 else found)

    method = {"method": "structured_output", "field_mappings": {"mood": "$.mood"}}
    worker = Worker(answer, output_mapping={"extraction_methods": [method]}, execution_config={"off_protocol": policy})

    response = worker.run()

    assert response.succeeded == (7 if policy == "accept" else 6)
    summary = summary_of(worker)
    assert (summary["off_protocol"]["count"], summary["off_protocol"]["example_row"]) == (1, 1)


OUTPUT = {"exchange": "CANTERBURY", "speeds": {"download": "67.5 Mbps"}}
MESSAGES = {
    "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "browser_broadband", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "Exchange: CANTERBURY"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "2", "name": "print_output", "input": OUTPUT}]},
    ]
}
RESULTS = {"results": [{"title": "Kettle", "url": "https://shop.example"}]}
STRUCTURED = {"method": "structured_output", "field_mappings": {"exchange": "$.exchnge"}}
TOOL_RESULT = {"method": "tool_result", "field_mappings": {"exchange": "$.content | parse('Line: (.+)')"}}
DIRECT = {"method": "direct", "field_mappings": {"exchange": "$.exchang"}}
SEARCH = {"method": "results_array", "field_mappings": {"title": "results[0].titel"}}
HAVE = "matched 0 of 20; the answers have"
FIELDS: list[tuple[list[dict[str, Any]], Any, str]] = [
    (
        [STRUCTURED],
        MESSAGES,
        f"exchange: $.exchnge (structured_output) {HAVE} exchange, speeds. Did you mean $.exchange?",
    ),
    (
        [{**STRUCTURED, "field_mappings": {"speed": "$.speeds.downlod"}}],
        MESSAGES,
        f"speed: $.speeds.downlod (structured_output) {HAVE} at $.speeds download. Did you mean $.speeds.download?",
    ),
    (
        [TOOL_RESULT],
        MESSAGES,
        f"exchange: $.content | parse('Line: (.+)') (tool_result) {HAVE} at $.content <a text>",
    ),
    ([DIRECT], OUTPUT, f"exchange: $.exchang (direct) {HAVE} exchange, speeds. Did you mean $.exchange?"),
    (
        [TOOL_RESULT, DIRECT],
        OUTPUT,
        f"exchange: $.exchang (direct) {HAVE} exchange, speeds. Did you mean $.exchange?",
    ),
    (
        [SEARCH],
        RESULTS,
        f"title: results[0].titel (results_array) {HAVE} at $.results[0] title, url. Did you mean results[0].title?",
    ),
    (
        [{"method": "jmespath", "paths": {"count": "length(reslts)"}}],
        RESULTS,
        f"count: length(reslts) (jmespath) {HAVE} results",
    ),
    ([TOOL_RESULT], RESULTS, f"exchange: $.content | parse('Line: (.+)') (tool_result) {HAVE} results"),
]


def warnings_of(methods: list[dict[str, Any]], payload: Any, columns: list[dict[str, str]]) -> list[str]:
    read = OutputMapping.model_validate({"extraction_methods": methods, "columns": columns})
    answer = {"result": "Success", "data": payload, "metadata": {}}
    row = compile_output_mapping(read).map(answer, payload)
    return blanks_of(*[(list(row.missing), row.answer_keys)] * 20).warnings(read, 20)


@pytest.mark.parametrize(("methods", "payload", "said"), FIELDS)
def test_a_field_that_no_method_yields_is_named_by_its_expression_with_the_closest_key(
    methods: list[dict[str, Any]], payload: Any, said: str
) -> None:
    assert warnings_of(methods, payload, []) == [f"Column {said}"]


def test_a_column_whose_source_is_such_a_field_is_named_by_the_fields_expression() -> None:
    (said,) = warnings_of([SEARCH], RESULTS, [{"name": "headline", "source": "$.title"}])

    assert said.startswith("Column headline: results[0].titel (results_array) matched 0 of 20")


def test_a_column_whose_source_is_no_field_is_named_by_its_source() -> None:
    (said,) = warnings_of([SEARCH], RESULTS, [{"name": "headline", "source": "$.reslts"}])

    assert said == f"Column headline: $.reslts {HAVE} results. Did you mean $.results?"
