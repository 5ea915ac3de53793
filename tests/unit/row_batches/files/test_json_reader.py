"""JSON Lines and JSON arrays as tables whose values keep their types."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.errors import InvalidInputError
from row_batches.document.input_format import InputFormat
from row_batches.files import json_reader, json_shapes, table
from row_batches.files.json_reader import MAX_ARRAY_BYTES, stage_json_array
from row_batches.files.json_shapes import Shapes
from row_batches.files.opening import open_input
from row_batches.files.staged_copy import read_staged, unescaped
from row_batches.files.table import InputFile, Resumable
from row_batches.mapping.cells import value_of
from tests.support import aws_csv

ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "one", "price": 1.5, "ok": True, "tags": ["a", "b"], "more": {"deep": [1, {"x": "é"}]}},
    {"id": 12345678901234567890123, "text": "1", "price": None, "ok": False, "tags": [], "more": {}},
    {"id": -3, "text": '\\j "quoted"\r\n', "late": "new key"},
]
KEYS = ["id", "text", "price", "ok", "tags", "more", "late"]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def values(data: bytes, size: int = 1 << 20, **options: Any) -> tuple[list[str], list[list[Any]], list[list[str]]]:
    """The columns, and each row's values and texts, as a child of the map reads them."""
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    staging = open_input(InputFile(lambda: chunks, InputFormat(**options)))
    staged = b"".join(staging)
    assert staging.size_bytes == len(staged)
    items = aws_csv.read(staged.decode())
    names = [f"c{i}" for i in range(1, len(staging.columns) + 1)]
    native = [[unescaped(item[name]) for name in names] for item in items]
    kept = [cells for _, cells in read_staged([staged])]
    assert native == kept
    assert staging.total_rows == len(kept)
    return (
        staging.columns,
        [[value_of(cell) for cell in cells] for cells in kept],
        [list(map(str, row)) for row in kept],
    )


def refusal(data: bytes, size: int = 1 << 20, **options: Any) -> str:
    with pytest.raises(InvalidInputError) as error:
        values(data, size, **options)
    return str(error.value)


def test_an_array_that_takes_too_long_is_refused_before_it_is_read() -> None:
    def never() -> list[bytes]:
        raise AssertionError("The file is read.")

    with pytest.raises(InvalidInputError, match=r"the JSON file is over 5,000,000,000 bytes.*got 5,000,000,001 bytes"):
        stage_json_array(InputFile(never, size=MAX_ARRAY_BYTES + 1))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("form", ["lines", "array", "array, indented"])
def test_values_keep_their_types_and_missing_keys_are_null(form: str, size: int) -> None:
    data = lines(ROWS) if form == "lines" else json.dumps(ROWS, indent=2 if "indented" in form else None).encode()

    columns, read, texts = values(data, size)

    assert columns == KEYS
    assert read == [[row.get(key) for key in KEYS] for row in ROWS]
    assert texts[0] == ["1", "one", "1.5", "true", '["a","b"]', '{"deep":[1,{"x":"é"}]}', ""]
    assert texts[1][:3] == ["12345678901234567890123", "1", ""]


def test_lines_that_end_with_cr_alone_are_named_so() -> None:
    assert "the lines end with CR alone, as on old Macs" in refusal(b'{"a": 1}\r{"a": 2}\r')


@pytest.mark.parametrize("data", ['{"a": "é"}\n', '[{"a": "é"}]'])
def test_the_encoding_of_a_json_file_is_named(data: str) -> None:
    staging = open_input(InputFile(lambda: [data.encode("utf-16")], InputFormat()))
    list(staging)
    assert "The file's encoding is UTF-16, recognised from its bytes." in staging.warnings


def test_one_object_with_a_list_of_objects_is_read_as_a_row_with_a_warning() -> None:
    data = b'{"total": 2, "data": [{"a": 1}, {"a": 2}], "tags": ["x"]}'
    staging = open_input(InputFile(lambda: [data]))
    list(staging)

    assert staging.total_rows == 1
    assert [warning for warning in staging.warnings if "one row" in warning] == [
        'The file is one object, which is read as one row. If the rows are in its list "data" (with 2 of them), write '
        "only this list."
    ]


@pytest.mark.parametrize("row", ['{"tags": [{"a": 1}]}', '{"tags": [{"a": 1}], "b": 1e5}'])
def test_a_file_of_which_max_rows_reads_one_object_is_not_called_one_object(row: str) -> None:
    data = "\n".join([row] * 1_000).encode()
    staging = open_input(InputFile(lambda: [data], max_rows=1))
    list(staging)

    assert staging.total_rows == 1
    assert not [warning for warning in staging.warnings if "one object" in warning]


def test_decimals_stay_as_they_are_written() -> None:
    _, _, texts = values(b'{"a": 1.10, "b": 0.12345678901234567890}\n')

    assert texts == [["1.10", "0.12345678901234567890"]]


def test_blank_lines_and_a_byte_order_mark_are_no_rows() -> None:
    assert values(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}')[1] == [[1], [2]]


def test_utf_16_is_read() -> None:
    assert values('{"a": "é"}\n'.encode("utf-16"))[1] == [["é"]]
    assert values('[{"a": "é"}]'.encode("utf-16"))[1] == [["é"]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1}\n[1]\n', "a row is not an object (got line 2)"),
        (b'{"a": 1}\n{"a": \n', "the line ends in the middle of an object (got line 2)"),
        (b'{\n  "a": 1\n}\n', "If the rows are in a list inside one object, write only this list"),
        (b'[["a", "b"], [1, 2]]', "a row is not an object (got item 1)"),
        (b"[1, 2]", "a row is not an object (got item 1)"),
        (b'["a", "b"]\n[1, 2]\n', "a row is not an object (got item 1)"),
        (b'[{"a": 1}, {"a": 2}, {"a": ', "(got after item 2)"),
        (b'[{"a": 1}, {"a": 2},]', "(got after item 2)"),
        (b'{"a": 1, "a": 2}\n', "a key occurs twice"),
        (b'{"a": NaN}\n', "NaN is not a JSON value"),
        (b'{"a": "\\u0000"}\n', "NUL"),
        (b'{"a": "\\ud800"}\n', "surrogate"),
        (b"{}\n{}\n", "no objects with keys"),
        (b'[{"a": 1}, 2]', "item 2"),
        (b'[{"a": 1}, {"a": ', "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deep"),
        (b'{"a": "' + b"x" * 250_000 + b'"}\n', "longer than 199,000 bytes"),
        (b'{"a": "' + b"x" * 5_000_000, "longer than 4,000,000 bytes"),
        (b'[{"a": "' + b"x" * 5_000_000, "longer than 4,000,000 characters"),
        (json.dumps({f"k{i}": i for i in range(1_891)}).encode(), "1,891 columns"),
    ],
    ids=range(20),
)
def test_mistakes_are_named_by_their_place(data: bytes, said: str) -> None:
    assert said in refusal(data)


@pytest.mark.parametrize("form", ["lines", "array"])
def test_max_rows_reads_no_further(form: str) -> None:
    data = b'{"a": 1}\nbroken' if form == "lines" else b'[{"a": 1}, broken'
    staging = open_input(InputFile(lambda: [data], InputFormat(), max_rows=1))

    assert [cells for _, cells in read_staged(list(staging))] == [["1"]]


@pytest.mark.parametrize("form", ["lines", "array"])
@pytest.mark.parametrize("most", [2, 4, 5])
def test_max_rows_checks_no_further_among_alike_objects(form: str, most: int) -> None:
    rows = ['{"a": {"b": 1}}'] * 5 + ['{"a": {"b": 1E400}}']
    data = ("\n".join([*rows, ""]) if form == "lines" else f"[{','.join(rows)}]").encode()

    # One block holds a few of the lines, so that later ones come together.
    chunks = [data[i : i + 48] for i in range(0, len(data), 48)] if form == "lines" else [data]
    staging = open_input(InputFile(lambda: chunks, InputFormat(), max_rows=most))

    assert [cells for _, cells in read_staged(list(staging))] == [['{"b":1}']] * most
    assert "a number is too large" in refusal(data)


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("item", "said"),
    [
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"a": ' + "1" * 5_000 + "}", "a number with too many digits"),
        ('{"a": 1e9999999999999999999999}', "a number is too large"),
        ('{"a": -1e999}', "a number is too large"),
        ('{"a": [1e999]}', "a number is too large"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
        ('{"\\u0000": 1}', "a key contains a NUL"),
        ('{"a": tru}', "Expecting value"),
        ('{"a": ' + "[" * 5_000 + "]" * 5_000 + "}", "nested too deep"),
    ],
    ids=range(10),
)
def test_lines_and_arrays_refuse_the_same_objects(item: str, said: str, size: int) -> None:
    good = '{"b": 1}'

    assert said in refusal(f"{good}\n{item}\n{good}\n".encode(), size)
    assert said in refusal(f"[{good}, {item}, {good}]".encode(), size)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'[{"a": 1}] x', "expecting nothing more"),
        (b'[{"a": 1}] [{"a": 2}]', "expecting nothing more"),
        (b'[{"a": 1}', "it ends in the middle"),
        (b'[{"a": 1},', "Expecting value"),
        (b'[{"a": 1},]', "Expecting value"),
        (b'[{"a": 1} {"a": 2}]', "expecting ,"),
        ('[{"a": "éé'.encode()[:-1], "not UTF-8"),
    ],
)
def test_an_array_that_is_not_json_is_refused_after_its_last_good_item(data: bytes, said: str) -> None:
    refused = refusal(data)

    assert said in refused
    assert "after item" in refused


def test_an_array_with_a_byte_order_mark_is_read_in_chunks_of_any_size() -> None:
    rows: list[dict[str, Any]] = [{"a": '\\ " é \U0001f600' * 30, "b": [1.5, -2, {"c": None}]}, {}, {"a": "]"}]
    data = b"\xef\xbb\xbf\n" + json.dumps(rows, ensure_ascii=False).encode() + b"\n"

    for size in range(1, 40):
        assert values(data, size)[1] == [[row.get(key) for key in ("a", "b")] for row in rows]


@pytest.mark.parametrize(
    "number",
    ["1.10", "-0.5", "0.0000001", "100000000000000000000.00", "12345678901234567890123", "1e5", "1E+4", "-7", "0"],
)
@pytest.mark.parametrize("before", [0, 3])
def test_a_number_is_never_written_in_another_way(number: str, before: int) -> None:
    rows = ['{"a": 1, "b": "x"}'] * before + [f'{{"a": {number}, "b": "x"}}']

    for data in ("\n".join(rows), f"[{','.join(rows)}]"):
        assert values(data.encode())[2][-1] == [number, "x"]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.sampled_from(["", "\\j1", '"', "\\", "\r\n", "\t", "}{", '","', "\u2028", "\x7f", "null"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
)
OBJECTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", 'a "b"', "é", "\\", "a.b"]), VALUES, max_size=3), min_size=1, max_size=12
).filter(any)


@given(rows=OBJECTS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans(), tight=st.booleans())
def test_objects_of_a_known_shape_are_staged_as_parsed_ones_are(
    rows: list[dict[str, Any]], indent: int | None, ascii_only: bool, tight: bool
) -> None:
    separators = (",", ":") if tight else None
    lines_ = "".join(json.dumps(row, ensure_ascii=ascii_only, separators=separators) + "\n" for row in rows)
    array = json.dumps(rows, ensure_ascii=ascii_only, separators=separators, indent=indent)

    for data in (lines_, array):
        quick = values(data.encode(), type="jsonl" if data is lines_ else "json")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Shapes, "learn", lambda *_: None)
            parsed = values(data.encode(), type="jsonl" if data is lines_ else "json")
        assert quick == parsed
        assert quick[1] == [[row.get(key) for key in quick[0]] for row in rows]


ALIKE = st.lists(st.tuples(SCALARS, SCALARS, VALUES), min_size=2, max_size=30)


@pytest.fixture(params=[120, 1 << 16])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_reader, "_BLOCK_BYTES", request.param)
    monkeypatch.setattr(json_shapes, "_ITEMS_CHARACTERS", request.param)
    monkeypatch.setattr(table, "_CHUNK_BYTES", request.param)
    return int(request.param)


@given(rows=ALIKE, other=st.integers(0, 30), size=st.sampled_from([50, 1 << 16]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_objects_of_one_shape_are_staged_together_as_one_by_one(
    block_size: int, rows: list[tuple[Any, Any, Any]], other: int, size: int
) -> None:
    del block_size
    objects: list[dict[str, Any]] = [
        {"a": 1, "é": "x", "c": None},
        *(dict(zip("aéc", row, strict=True)) for row in rows),
    ]
    objects.insert(other, {"c": 1, "late": [2]})

    for data in (lines(objects), json.dumps(objects, ensure_ascii=False).encode()):
        columns, read, _ = values(data, size)

        assert sorted(columns) == ["a", "c", "late", "é"]
        assert read == [[item.get(column) for column in columns] for item in objects]


@pytest.mark.parametrize("form", ["lines", "array"])
def test_reading_goes_on_after_any_chunk_and_ends_at_max_rows_inside_many_alike_objects(
    block_size: int, form: str
) -> None:
    del block_size
    objects = [{"id": number, "text": f"row {number}", "tags": [number]} for number in range(100)]
    data = lines(objects) if form == "lines" else json.dumps(objects).encode()
    whole = [cells for _, cells in read_staged(list(open_input(InputFile(lambda: [data], InputFormat()))))]
    assert [cell[0] for cell in whole] == [str(number) for number in range(100)]

    for most in (0, 1, 57, 99, 100, 101):
        staging = open_input(InputFile(lambda: [data], InputFormat(), max_rows=most))
        assert [cells for _, cells in read_staged(list(staging))] == whole[:most]
        assert staging.total_rows == min(most, 100)
    first = open_input(InputFile(lambda: [data], InputFormat()))
    assert isinstance(first, Resumable)
    staged = []
    for chunk in first:
        staged.append(chunk)
        place = first.place()
        assert place is not None
        later = open_input(InputFile(lambda: [data], InputFormat()))
        assert isinstance(later, Resumable)
        later.resume(place)
        assert [cells for _, cells in read_staged([*staged, *later])] == whole


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of keys in each expression that is compiled for objects."""
    found: list[int] = []
    compile_ = re.compile

    def counted(pattern: Any, flags: int = 0) -> re.Pattern[Any]:
        if isinstance(pattern, str) and (keys := pattern.count(json_shapes._VALUE)):
            found.append(keys)
        return compile_(pattern, flags)

    monkeypatch.setattr(re, "compile", counted)
    return found


def in_form(rows: list[dict[str, Any]], form: str) -> bytes:
    return lines(rows) if form == "lines" else json.dumps(rows).encode()


@pytest.mark.parametrize("form", ["lines", "array"])
def test_objects_whose_keys_come_once_cost_no_compiling(form: str, compiled: list[int]) -> None:
    rows = [{f"k{first + key}": key for key in range(100)} for first in range(64)]
    _, read, _ = values(in_form(rows, form))

    assert len(read) == 64
    assert compiled == []


@pytest.mark.parametrize("form", ["lines", "array"])
def test_keys_that_take_turns_are_compiled_for_one_object_alone_and_up_to_a_bound(
    form: str, compiled: list[int]
) -> None:
    rows = [{f"k{first + key}": key for key in range(40)} for _ in range(5) for first in range(64)]
    _, read, _ = values(in_form(rows, form))

    assert len(read) == 320
    assert 0 < sum(compiled) <= 1_000
    assert set(compiled) == {40}


@pytest.mark.parametrize("form", ["lines", "array"])
def test_two_shapes_that_take_turns_need_two_expressions(form: str, compiled: list[int]) -> None:
    values(in_form([{"a": 1, "b": 2}, {"c": 3, "d": 4}] * 20, form))

    assert compiled == [2, 2]


@pytest.mark.parametrize("form", ["lines", "array"])
def test_one_shape_needs_up_to_three_expressions(form: str, compiled: list[int], block_size: int) -> None:
    del block_size
    values(in_form([{"a": number, "b": "x"} for number in range(100)], form))

    assert 0 < len(compiled) <= 3


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('"\\u0000"', "a cell contains a NUL character"),
        ('"\\ud800"', "half of a surrogate pair"),
        (f'"{"x" * 199_000}"', "longer than 199,000 bytes as JSON"),
        ('"' + "\\u0001" * 40_000 + '"', "longer than 199,000 bytes as JSON"),
        ('{"b": 1, "b": 2}', "a key occurs twice"),
        ("[1e999]", "a number is too large"),
    ],
    ids=["NUL", "surrogate", "long", "long once escaped", "repeated key", "infinite number"],
)
def test_a_row_among_alike_ones_that_cannot_be_staged_is_named(cell: str, said: str) -> None:
    rows = [f'{{"a": {number}, "b": "x"}}' for number in range(50)]
    rows[30] = f'{{"a": 30, "b": {cell}}}'

    for data, place in (("\n".join(rows), "line 31"), (f"[{','.join(rows)}]", "item 31")):
        message = refusal(data.encode())
        assert said in message
        assert place in message
