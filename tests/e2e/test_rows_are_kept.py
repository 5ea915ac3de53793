"""Every input row appears once, in order, its original values unchanged, whatever the CSV looks like."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
import xlsxwriter

from tests.support.deployment import METADATA, Deployment, Run, csv_bytes, scaled

CELLS = [
    "plain",
    'quotes "inside"',
    "a,b;c|d\te",
    "two\nlines",
    "carriage\r\nreturn in a cell",
    "emoji 🎉 ünï ✓ \u2028 line separator",
    "",
    "00042",
    "\\",
    "C:\\path\\new",
    '\\"',
    '"',
    "=1+1",
    "  spaces  ",
    "NULL",
    "{% $states.input %}",
    "${aws}",
]


def tricky_rows(count: int) -> list[list[str]]:
    size = len(CELLS)
    return [
        [str(i), CELLS[i % size], CELLS[(i * 7 + 3) % size], CELLS[(i // size) % size]] for i in range(1, count + 1)
    ]


def assert_every_row_once_in_order(run: Run, header: list[str], rows: list[list[str]]) -> None:
    run.assert_succeeded()
    width = len(header)
    assert run.table[0][:width] == header
    assert [row[:width] for row in run.table[1:]] == rows
    assert [row["_row_id"] for row in run.rows] == [str(i) for i in range(1, len(rows) + 1)]
    assert {row["_status"] for row in run.rows} <= {"SUCCESS"}
    assert run.table[0][-len(METADATA) :] == METADATA
    assert not run.output.startswith(b"\xef\xbb\xbf")


def echo(**execution: object) -> dict[str, object]:
    return {
        "target": {"type": "tool", "name": "echo"},
        "output_mapping": {"columns": [{"name": "echoed", "source": "$.input.text"}]},
        "execution_config": {"max_concurrency": 10, **execution},
    }


@pytest.mark.parametrize("batch_size", [1, 25, 100])
def test_rows_of_every_kind_come_back_once_in_order_and_unchanged(deployment: Deployment, batch_size: int) -> None:
    header = ["id", "text", "note", "last"]
    # 300 rows have each cell in one column with each cell in another one.
    rows = tricky_rows(scaled(5000, 100 if batch_size == 1 else 300))
    run = deployment.run(echo(batch_size=batch_size), csv_bytes([header, *rows], line_end="\r\n"), timeout=900)
    assert_every_row_once_in_order(run, header, rows)
    assert [row["echoed"] for row in run.rows] == [row[1] for row in rows], "the target received other values"


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_delimiters_are_recognised(deployment: Deployment, delimiter: str) -> None:
    rows = [[str(i), f"a{delimiter}b", "c,d"] for i in range(1, 8)]
    run = deployment.run(echo(), csv_bytes([["id", "text", "x"], *rows], delimiter=delimiter))
    assert_every_row_once_in_order(run, ["id", "text", "x"], rows)


def test_a_byte_order_mark_is_no_part_of_the_first_name_and_the_users_object_is_untouched(
    deployment: Deployment,
) -> None:
    body = b"\xef\xbb\xbf" + csv_bytes([["id", "text"], ["1", "x"]])
    run = deployment.run(echo(), body)
    assert_every_row_once_in_order(run, ["id", "text"], [["1", "x"]])
    bucket, key = run.key.removeprefix("s3://").split("/", 1)
    assert deployment.read(bucket, key) == body


def test_a_file_as_people_have_it_is_taken(deployment: Deployment) -> None:
    """From Excel in Paris, through pandas: an index without a name, a name twice, Windows-1252, a title, gzip."""
    header = ["", "text", "text"]
    rows = [[str(i), "Hélène, Orléans", "François à Nîmes"] for i in range(1, 30)]
    body = gzip.compress(b"Ventes 2026\r\n" + csv_bytes([header, *rows], "\r\n", ";").decode().encode("cp1252"))
    document = {
        **echo(),
        "input_format": {"skip_lines": 1},
        "input_mapping": {"column_mappings": {"column_1": "id", "text_2": "text"}},
    }

    run = deployment.run(document, body)

    assert_every_row_once_in_order(run, header, rows)
    assert [row[len(header)] for row in run.table[1:]] == ["François à Nîmes"] * len(rows)
    warnings = " ".join(run.summary["warnings"])
    assert all(said in warnings for said in ("gzip", "Windows-1252", "semicolon", "column_1", "text_2"))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.xlsx"])
def test_a_file_with_types_reaches_the_target_with_them(deployment: Deployment, name: str) -> None:
    rows = [
        {"id": number, "text": f"text {number}", "price": number + 0.5, "sold": number % 2 == 0} for number in (1, 2)
    ]
    if name.endswith("xlsx"):
        buffer = io.BytesIO()
        with xlsxwriter.Workbook(buffer) as workbook:
            sheet = workbook.add_worksheet()
            for line, cells in enumerate([list(rows[0]), *(list(row.values()) for row in rows)]):
                sheet.write_row(line, 0, cells)
        body = buffer.getvalue()
    elif name.endswith("jsonl"):
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        body = json.dumps(rows).encode()
    document = {**echo(), "output_mapping": {"columns": [{"name": "sent", "source": "$.input", "type": "json_string"}]}}

    run = deployment.run(document, body)

    header = ["id", "text", "price", "sold"]
    assert_every_row_once_in_order(run, header, [["1", "text 1", "1.5", "false"], ["2", "text 2", "2.5", "true"]])
    assert [json.loads(row["sent"]) for row in run.rows] == rows


def test_a_header_of_900_long_names_is_kept(deployment: Deployment) -> None:
    header = [f"column_{i:03d}_with_a_long_name" for i in range(900)]
    rows = [[f"{r}.{i}" for i in range(900)] for r in range(3)]
    document = {**echo(), "input_mapping": {"column_mappings": {header[0]: "text"}}}
    run = deployment.run(document, csv_bytes([header, *rows]))
    assert_every_row_once_in_order(run, header, rows)


def test_a_header_without_rows_gives_an_output_without_rows(deployment: Deployment) -> None:
    run = deployment.run(echo(), b"id,text\n").assert_succeeded()
    assert run.table == [["id", "text", "echoed", *METADATA]]
    assert run.document["total_rows"] == 0
    assert run.document["status"] == "SUCCEEDED"


def test_an_output_can_be_the_next_input(deployment: Deployment) -> None:
    first = deployment.run(echo(), csv_bytes([["id", "text"], ["1", "x"], ["2", "y"]])).assert_succeeded()
    second = deployment.run(
        {**echo(), "output_mapping": {"columns": [{"name": "again", "source": "$.input.echoed"}]}}, first.output
    ).assert_succeeded()
    assert second.table[0] == ["id", "text", "echoed", "again", *METADATA]
    assert [row["again"] for row in second.rows] == ["x", "y"]
    assert {row["_execution_id"] for row in second.rows} == {second.name}


def test_an_output_can_be_submitted_again_as_it_is(deployment: Deployment) -> None:
    first = deployment.run(echo(), csv_bytes([["id", "text"], ["1", "x"], ["2", "y"]])).assert_succeeded()
    again = deployment.run({**echo(), "csv_s3_uri": first.document["output_s3_uri"]}).assert_succeeded()
    assert again.table[0] == first.table[0]
    assert [row["echoed"] for row in again.rows] == ["x", "y"]


def test_only_the_first_rows_run_in_a_trial(deployment: Deployment) -> None:
    rows = [[str(i), "x"] for i in range(1, 51)]
    run = deployment.run(echo(max_rows=7), csv_bytes([["id", "text"], *rows])).assert_succeeded()
    assert [row["id"] for row in run.rows] == [str(i) for i in range(1, 8)]


def test_a_large_batch_completes(deployment: Deployment) -> None:
    rows = [[str(i), f"text {i}"] for i in range(1, scaled(20_000, 1_000) + 1)]
    run = deployment.run(echo(), csv_bytes([["id", "text"], *rows]), timeout=900)
    assert_every_row_once_in_order(run, ["id", "text"], rows)
    assert run.document["succeeded"] == len(rows)
    assert list(csv.DictReader(io.StringIO(run.failed_rows.decode()))) == []
