"""A run without a document: the mapping is guessed from the target's declared fields and the header."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_processor_client.cli import report
from batch_processor_client.errors import ClientError
from batch_processor_client.guesses import FileHeader, guess_document, parse_columns, read_header
from batch_processor_client.inputs import named_files
from foundation.errors import InvalidInputError
from row_batches.document.plan import InputField, Target
from row_batches.mapping.models import DeclaredColumn
from row_batches.targets.kinds import parse_document

DECLARED = {"text": InputField(), "Ticket ID": InputField(), "language": InputField(required=False)}


def target(fields: dict[str, InputField] | None = None) -> Target:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:sentiment"
    return Target(name="sentiment", type="tool", arn=arn, invocation="lambda", input=fields or {})


def test_a_declared_field_takes_the_column_of_its_name_or_one_that_looks_like_it() -> None:
    guess = guess_document(target(DECLARED), ["ticket_id", "Text", "text", "note"])
    assert guess.fields == {"text": "text", "Ticket ID": "ticket_id"}
    assert (guess.unused, guess.missing) == (["Text", "note"], ["language"])
    assert guess.document["input_mapping"] == {"column_mappings": {"text": "text", "ticket_id": "Ticket ID"}}


def test_columns_that_are_given_come_first() -> None:
    guess = guess_document(target(DECLARED), ["text", "body", "ticket id"], {"body": "text"})
    assert guess.fields == {"text": "body", "Ticket ID": "ticket id"}
    assert guess.unused == ["text"]


def test_without_a_declaration_every_column_is_sent_under_its_own_name() -> None:
    guess = guess_document(target(), ["a", "b"], max_concurrency=5)
    assert (guess.fields, guess.unused) == ({}, [])
    assert guess.document == {
        "target": {"type": "tool", "name": "sentiment"},
        "execution_config": {"max_concurrency": 5},
    }


def test_without_a_declaration_only_the_given_columns_are_sent() -> None:
    guess = guess_document(target(), ["a", "b"], {"a": "text"})
    assert (guess.fields, guess.unused) == ({"text": "a"}, ["b"])


@pytest.mark.parametrize("given", [{}, {"a": "text"}])
def test_a_guessed_document_is_one_that_a_run_takes(given: dict[str, str]) -> None:
    document = guess_document(target(), ["a", "b"], given).document
    assert parse_document({**document, "csv_s3_uri": "s3://inputs/rows.csv"}).target.name == "sentiment"


def test_a_required_field_without_a_column_is_named_with_the_columns() -> None:
    with pytest.raises(ClientError, match=r"sentiment needs Ticket ID, and the file has text, id\..*=Ticket ID"):
        guess_document(target(DECLARED), ["text", "id"])


def test_the_output_has_the_columns_that_the_target_declares_under_names_that_are_free() -> None:
    declared = (DeclaredColumn(name="text"), DeclaredColumn(name="score", source="$.rating.stars", type="number"))
    guess = guess_document(target().model_copy(update={"output": declared}), ["text", "text_2"])
    assert guess.columns == {"text_3": "$.text", "score": "$.rating.stars"}
    columns = guess.document["output_mapping"]["columns"]
    assert columns[1] == {"name": "score", "source": "$.rating.stars", "type": "number"}
    read = parse_document({**guess.document, "csv_s3_uri": "s3://inputs/rows.csv"})
    assert [column.name for column in read.output_mapping.mapped_columns] == ["text_3", "score"]


def test_without_a_declared_output_it_says_where_the_answer_goes() -> None:
    header = FileHeader(columns=["a"], has_rows=True)
    guess = guess_document(target(), ["a"])
    assert "output_mapping" not in guess.document
    assert any("result: the whole answer as JSON" in line for line in report.guess_lines(guess, header))
    with_schema = guess.model_copy(update={"output_schema": "broadband"})
    assert "columns      those of the schema broadband" in report.guess_lines(with_schema, header)


def test_a_column_that_the_file_lacks_is_named_with_the_closest() -> None:
    with pytest.raises(ClientError, match=r"no column boddy\. Did you mean body\?"):
        guess_document(target(), ["body"], {"boddy": "text"})


@pytest.mark.parametrize("text", ["a\nb=c", '"a,b=c'])
def test_columns_that_are_no_single_line_of_pairs_are_refused(text: str) -> None:
    with pytest.raises(ClientError, match="COLUMNS="):
        parse_columns(text)


def test_columns_are_written_as_pairs() -> None:
    assert parse_columns("body=text, id ,") == {"body": "text", "id": "id"}
    assert parse_columns('"Paid, EUR=paid", a=b=c,say "hi"=text') == {
        "Paid, EUR": "paid",
        "a=b": "c",
        'say "hi"': "text",
    }
    assert parse_columns("") == {}
    for wrong in ("=text", "body="):
        with pytest.raises(ClientError, match="write column=field"):
            parse_columns(wrong)


def test_a_column_with_a_comma_is_named_with_the_way_to_write_it() -> None:
    with pytest.raises(ClientError, match=r"Did you mean Paid, EUR\? Write a pair with a comma in quotes\."):
        guess_document(target(), ["Paid, EUR"], parse_columns("Paid, EUR=paid"))


def test_the_columns_of_json_are_the_keys_of_its_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n' * 3 + '{"id": 2, "late": true}\n')
    assert read_header(named_files(path)).columns == ["id", "late"]


def test_the_header_is_read_as_a_run_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffid;text\n1;a\n2;b\n".encode())
    assert read_header(named_files(path)) == FileHeader(columns=["id", "text"], has_rows=True)
    path.write_text("id,text\n")
    assert read_header(named_files(path)) == FileHeader(columns=["id", "text"], has_rows=False)
    path.write_bytes(b"%PDF-1.7 ...")
    with pytest.raises(InvalidInputError):
        read_header(named_files(path))


def test_the_guess_is_shown_with_what_is_not_sent() -> None:
    header = FileHeader(columns=["text", "ticket id", "note"], has_rows=False)
    assert report.guess_lines(guess_document(target(DECLARED), header.columns), header) == [
        "target       sentiment",
        "field        text from column text",
        "field        Ticket ID from column ticket id",
        "not sent     note",
        "no column    language: optional",
        "column       result: the whole answer as JSON, because the target declares no output",
        'document     {"target": {"type": "tool", "name": "sentiment"}, "input_mapping": '
        '{"column_mappings": {"text": "text", "ticket id": "Ticket ID"}}}',
        "warning      The file has a header and no rows.",
    ]
    own_names = report.guess_lines(guess_document(target(), ["a", "b"]), FileHeader(columns=["a", "b"], has_rows=True))
    assert own_names[1] == "fields       a, b: each column under its own name"

    earlier = FileHeader(columns=["a", "_row_id", "_status"], has_rows=True)
    shown = report.guess_lines(guess_document(target(), earlier.columns), earlier)
    assert shown[1:3] == [
        "fields       a: each column under its own name",
        "not sent     _row_id, _status: as in an earlier output, which the new one replaces",
    ]
