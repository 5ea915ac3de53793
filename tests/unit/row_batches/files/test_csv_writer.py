"""The lines of ``output.csv`` and ``failed_rows.csv``."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.document.header import problems_against_header, replaced_columns
from row_batches.document.input_document import parse_batch_config
from row_batches.files.csv_reader import Staging
from row_batches.files.csv_writer import RowRenderer, identified, output_header, render_header, render_row
from row_batches.files.staged_copy import read_staged
from row_batches.mapping.formulas import marked, unmarked
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS, RowFacts

FACTS = RowFacts(
    execution="run-1", row=7, status="FAILED", error_message="why", attempts=3, started_ms=1_500, ended_ms=2_250
)
CELLS = "run-1,7,FAILED,why,750,1970-01-01T00:00:02.250Z"
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)


def renderer(columns: list[str], /, **output_mapping: Any) -> RowRenderer:
    document = {
        "csv_s3_uri": "s3://bucket/key.csv",
        "target": {"type": "tool", "name": "echo"},
        "output_mapping": output_mapping,
    }
    return RowRenderer(parse_batch_config(document), columns)


MAPPED = [{"name": "category", "source": "$.category"}, {"name": "score", "source": "$.score"}]


@given(st.lists(text | st.sampled_from(['"', ",", "\r\n", "\r", " x ", "=1+1", "007"]), min_size=1, max_size=6))
def test_any_row_is_read_back_by_a_strict_reader(cells: list[str]) -> None:
    line = render_row(cells)

    assert line.endswith("\n")
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [cells]


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (["a", " b ", "=1+1", "007", "x;y"], "a, b ,=1+1,007,x;y\n"),
        (["a,b", 'say "hi"', "two\nlines", "\r"], '"a,b","say ""hi""","two\nlines","\r"\n'),
        ([""], '""\n'),
        (["", ""], ",\n"),
        (["é😀"], "é😀\n"),
    ],
)
def test_quotes_only_where_needed(cells: list[str], line: str) -> None:
    assert render_row(cells) == line


def test_what_no_csv_could_hold_becomes_a_replacement_character() -> None:
    assert render_row(["a\0b", "\ud83d", "\ud83d\ude00"]) == "a\ufffdb,\ufffd,😀\n"


def test_a_header_is_recognised_as_comma_separated_whatever_its_names() -> None:
    names = ["a;b;c", "d|e|f", "g\th", "\ufeffi"]

    assert Staging([render_header(names).encode()]).columns == names
    one = Staging([(render_header(["two words"]) + "x y\n").encode()])
    assert (one.columns, one.delimiter) == (["two words"], ",")


def test_originals_then_mapped_then_metadata() -> None:
    rows = renderer(["id", "text"], columns=MAPPED)

    assert rows.header == ["id", "text", "category", "score", *DEFAULT_METADATA_COLUMNS]
    assert rows.render(["1", "x,y"], ["c", "2"], FACTS) == '1,"x,y",c,2,' + CELLS + "\n"
    assert rows.render_failed(["1", "x,y"], 'went "wrong"') == '1,"x,y","went ""wrong"""\n'
    assert rows.failed_header_line == "id,text,_error_message,_execution_id,_row_id\n"
    assert identified('1,"x,y",why\n', "run 1", 7) == '1,"x,y",why,run 1,7\n'


@pytest.mark.parametrize(
    ("output_mapping", "header"),
    [
        ({"columns": MAPPED, "include_original": False, "add_metadata": False}, ["category", "score"]),
        ({"columns": MAPPED, "add_metadata": ["_status"]}, ["id", "category", "score", "_status"]),
        ({"add_metadata": False}, ["id", "result"]),
    ],
)
def test_the_config_chooses_the_columns(output_mapping: dict[str, Any], header: list[str]) -> None:
    rows = renderer(["id"], **output_mapping)

    assert rows.header == header
    mapped = ["m"] * (1 if "result" in header else 2)
    assert rows.render(["1"], mapped, FACTS).count(",") == len(header) - 1


def test_metadata_of_an_earlier_output_is_replaced_and_is_no_original() -> None:
    rows = renderer(["_row_id", "id", "_status", "_error_message"], columns=MAPPED, add_metadata=["_status"])

    assert rows.header == ["id", "category", "score", "_status"]
    assert rows.render(["7", "1", "FAILED", "old"], ["c", "2"], FACTS) == "1,c,2,FAILED\n"
    assert rows.failed_header == ["id", "_error_message", "_execution_id", "_row_id"]
    assert rows.render_failed(["7", "1", "FAILED", "old"], "new") == "1,new\n"


def test_an_earlier_output_is_submitted_again_as_it_is() -> None:
    first = renderer(["id", "text"], columns=MAPPED)
    again = renderer(first.header, columns=MAPPED)

    assert again.header == first.header
    assert again.render(["1", "t", "old", "0", *["old"] * 6], ["new", "1"], FACTS).startswith("1,t,new,1,")
    config = parse_batch_config({**DOCUMENT, "output_mapping": {"columns": MAPPED}})
    assert problems_against_header(config, first.header) == []


def test_a_column_of_the_users_own_is_never_replaced_unasked() -> None:
    config = parse_batch_config({**DOCUMENT, "output_mapping": {"columns": MAPPED}})
    assert [problem.path for problem in problems_against_header(config, ["id", "category"])] == [
        "output_mapping.columns[0].name"
    ]

    used = {**DOCUMENT, "output_mapping": {"columns": MAPPED}}
    used["input_mapping"] = {"column_mappings": {"category": "kind"}}
    metadata = ["_row_id", "_status"]
    columns = ["id", "category", "score", *metadata]
    assert replaced_columns(parse_batch_config(used), columns) == {"score", *metadata}


@pytest.mark.parametrize("metadata", [[], ["_timestamp"], ["_error_message"], ["_status", "_timestamp"]])
def test_a_few_metadata_names_do_not_make_an_earlier_output(metadata: list[str]) -> None:
    config = parse_batch_config({**DOCUMENT, "output_mapping": {"columns": MAPPED}})
    columns = ["mode", "n", "category", *metadata]

    assert replaced_columns(config, columns) == set(metadata)
    assert [problem.path for problem in problems_against_header(config, columns)] == ["output_mapping.columns[0].name"]


def test_failed_rows_can_be_submitted_again_with_the_same_columns() -> None:
    first = renderer(["id", "text"])
    failed = first.failed_header_line + identified(first.render_failed(["1", 'a\n"b"'], "why"), "run-1", 1)

    staging = Staging([failed.encode()])
    again = RowRenderer(parse_batch_config(DOCUMENT), staging.columns)
    cells = [cells for _, cells in read_staged(list(staging))]

    assert again.failed_header == first.failed_header
    assert list(again.original_cells(cells[0])) == ["1", 'a\n"b"']


def test_failed_rows_keep_an_own_column_with_the_name_of_a_mapped_one() -> None:
    config = parse_batch_config({**DOCUMENT, "output_mapping": {"include_original": False}})
    first = RowRenderer(config, ["id", "result"])

    assert first.failed_header[:2] == ["id", "result"]
    assert RowRenderer(config, first.failed_header).failed_header == first.failed_header


@pytest.mark.parametrize(
    ("cell", "neutralised"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+49 30 1234", "'+49 30 1234"),
        ("@me", "'@me"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-5+cmd", "'-5+cmd"),
        ("'=1", "''=1"),
        *((cell, cell) for cell in ("-5.00", "+5", "-1,234.50", "-.5", "-1.5e-3", "-5%", "a=b", "'quoted'", "")),
    ],
)
def test_formulas_of_the_target_are_marked_only_if_asked_for_and_numbers_never(cell: str, neutralised: str) -> None:
    on = {"output_format": {"formulas": "neutralise"}, "output_mapping": {"add_metadata": ["_error_message"]}}
    facts = FACTS._replace(error_message=cell)

    for more, expected in ((on, neutralised), (on | {"output_format": {}}, cell)):
        rows = RowRenderer(parse_batch_config({**DOCUMENT, **more}), ["id"])
        assert rows.render([cell], [cell], facts) == render_row([cell, expected, expected])
        assert rows.render_failed([cell], cell) == render_row([cell, expected])
    assert unmarked(neutralised) == cell


@given(st.text(st.sampled_from("'=+-@5. \ta")))
def test_taking_the_mark_off_gives_every_text_back(cell: str) -> None:
    assert unmarked(marked(cell)) == cell


DOCUMENT = {"csv_s3_uri": "s3://bucket/key.csv", "target": {"type": "tool", "name": "echo"}}


def test_output_header_is_the_renderers() -> None:
    assert output_header(parse_batch_config(DOCUMENT), ["id"]) == ["id", "result", *DEFAULT_METADATA_COLUMNS]


def test_a_metadata_column_on_request_is_in_the_output_when_a_list_names_it() -> None:
    rows = renderer(["id"], columns=MAPPED, add_metadata=["_attempts", "_row_id"])

    assert rows.header == ["id", "category", "score", "_row_id", "_attempts"]
    assert rows.render(["1"], ["c", "2"], FACTS) == "1,c,2,7,3\n"


def test_an_output_with_a_metadata_column_on_request_is_submitted_again_as_it_is() -> None:
    first = renderer(["id"], add_metadata=["_row_id", "_attempts"])

    assert renderer(first.header, add_metadata=["_row_id", "_attempts"]).header == first.header
    assert renderer(first.header).header == ["id", "result", *DEFAULT_METADATA_COLUMNS]


def test_a_column_with_the_name_of_a_metadata_column_on_request_is_the_users_own_in_any_other_csv() -> None:
    assert renderer(["id", "_attempts"]).header == ["id", "_attempts", "result", *DEFAULT_METADATA_COLUMNS]
    wanted = parse_batch_config({**DOCUMENT, "output_mapping": {"add_metadata": ["_attempts"]}})
    assert [problem.path for problem in problems_against_header(wanted, ["id", "_attempts"])] == [
        "output_mapping.add_metadata"
    ]


def test_the_output_repeats_the_header_as_it_was_written() -> None:
    header = ["", "text", "text"]
    renderer = RowRenderer(parse_batch_config(DOCUMENT), ["column_1", "text", "text_2"], header)

    assert renderer.header[:3] == header
    assert renderer.failed_header[:3] == header
    assert renderer.header_line.startswith(",text,text,")


def test_the_header_of_one_column_without_a_name_is_not_an_empty_line() -> None:
    assert render_header([""]) == '""\n'
