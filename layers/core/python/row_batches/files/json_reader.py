"""JSON as a table: one object a row, one column for each key that occurs in any of them.

Two forms: JSON Lines, one object a line, and one array of objects. Values keep their types on the way to the target
(``mapping.cells``). A file is read twice, once for its keys; memory is that of one object, whatever the size of the
file. Decimals stay as they are written; inside nested objects they are doubles, as RFC 8259 expects of its readers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NoReturn

from foundation.errors import InvalidInputError, Problem
from row_batches.document.input_format import InputFormat
from row_batches.files.encoding import Utf8Text
from row_batches.files.table import MAX_COLUMNS, PATH, TableStaging, too_many_columns
from row_batches.mapping.cells import JsonCell

Source = Callable[[], Iterable[bytes]]
"""Gives the file's bytes from its start, each time it is called."""
Objects = Iterator[tuple[str, Mapping[str, Any]]]
"""The rows with their places: "line 7" or "item 7"."""

MAX_OBJECT_BYTES = 4_000_000
"""Longest object that is read: 20 times the largest row that fits, as spaces and long keys do not count there."""
_READ_BYTES = 65_536


def stage_json_lines(
    source: Source, form: InputFormat, max_rows: int | None, source_warnings: Callable[[], list[str]]
) -> TableStaging:
    """Prepare to stage a file with an object in each line. Raises InvalidInputError for mistakes in it."""
    return _staged(lambda: _objects_of_lines(source(), form), max_rows, source_warnings)


def stage_json_array(
    source: Source, form: InputFormat, max_rows: int | None, source_warnings: Callable[[], list[str]]
) -> TableStaging:
    """Prepare to stage a file that is one array of objects. Raises InvalidInputError for mistakes in it."""
    return _staged(lambda: _objects_of_array(source(), form), max_rows, source_warnings)


def _staged(
    objects: Callable[[], Objects], max_rows: int | None, source_warnings: Callable[[], list[str]]
) -> TableStaging:
    keys: dict[str, None] = {}
    for row, (_, item) in enumerate(objects()):
        if row == max_rows:
            break
        keys.update(dict.fromkeys(item))
        if len(keys) > MAX_COLUMNS:
            raise InvalidInputError([too_many_columns(len(keys))])
    if not keys:
        _refuse("", "the file has no objects with keys", 'write rows such as {"id": 1, "text": "…"}')
    rows = ((place, [_cell(item.get(key), place) for key in keys]) for place, item in objects())
    return TableStaging(list(keys), rows, max_rows, source_warnings)


def _objects_of_lines(chunks: Iterable[bytes], form: InputFormat) -> Objects:
    for number, line in enumerate(_lines(Utf8Text(chunks, form, PATH)), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            item = _DECODER.decode(line.decode())
        except UnicodeDecodeError as error:
            _refuse(f"{place}, byte {error.start}", "the line is not UTF-8", "save the file as UTF-8")
        except RecursionError:
            _refuse(place, "the line is nested too deep", "flatten it")
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            _refuse(place, f"the line is not JSON: {reason}", "write one whole object in each line")
        yield place, _object(item, place)


def _lines(text: Iterable[bytes]) -> Iterator[bytes]:
    carry = b""
    first = True
    number = 0
    for chunk in text:
        *lines, carry = (carry + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False
        if len(carry) > MAX_OBJECT_BYTES:
            _refuse(f"line {number + 1}", f"the line is longer than {MAX_OBJECT_BYTES:,} bytes", "shorten it")
    if carry:
        yield carry.removeprefix(b"\xef\xbb\xbf") if first else carry


def _objects_of_array(chunks: Iterable[bytes], form: InputFormat) -> Objects:
    import ijson  # noqa: PLC0415  # 15 ms that other files need not pay

    reader = _Reader(Utf8Text(chunks, form, PATH))
    number = 0
    try:
        for number, item in enumerate(ijson.items(reader, "item"), 1):
            reader.begin_object()
            place = f"item {number}"
            yield place, _object(item, place)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        _refuse(f"after item {number}", f"the file is not JSON: {reason}", "write one array of objects: [{…}, {…}]")


class _Reader:
    """The bytes as a file that can be read, with a bound on what one object takes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self._read = 0

    def read(self, size: int = _READ_BYTES) -> bytes:
        if self._read > MAX_OBJECT_BYTES:
            _refuse("", f"an item is longer than {MAX_OBJECT_BYTES:,} bytes", "write one array of objects: [{…}, {…}]")
        while not self._rest and size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        self._read += len(data)
        return data

    def begin_object(self) -> None:
        self._read = 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_unique)


def _object(item: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        _refuse(place, "a row is not an object", 'write rows such as {"id": 1, "text": "…"}')
    return item


def _cell(value: Any, place: str) -> str:
    """The cell of a value. A key that an object lacks counts as null."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return JsonCell(str(value))
    try:
        return JsonCell(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=float, allow_nan=False))
    except RecursionError:
        _refuse(place, "a value is nested too deep", "flatten it")
    except (ValueError, OverflowError) as error:
        _refuse(place, f"a value cannot be written: {error}", "correct it")


def _refuse(place: str, message: str, fix: str) -> NoReturn:
    raise InvalidInputError([Problem(PATH, place, message, fix)])
