"""Reads JSON as a table. Each object is a row, and each key that occurs in any object is a column.

There are two forms: JSON Lines with one object a line, and one array of objects. Values keep their types on the way to
the target (``mapping.cells``). A file is read twice, first for its keys; a call that continues reads the keys again.
Memory: one object, for a file of any size.
Decimals stay as they are written. Inside nested objects they are doubles, as RFC 8259 expects.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from foundation.errors import InvalidInputError
from foundation.json_text import encodable
from foundation.problems import shown
from row_batches.files.encoding import Utf8Text
from row_batches.files.json_array import ArrayText, TooLongError
from row_batches.files.json_decoder import DECODER, MAX_OBJECT_BYTES, WrittenNumber, is_cut, reason_of
from row_batches.files.json_shapes import Alike, Found, Shapes, cells_of, rows_of
from row_batches.files.staged_copy import staged_cell, staged_cells
from row_batches.files.table import (
    MAX_COLUMNS,
    MAX_FILE_BYTES,
    InputFile,
    ResumableTable,
    Row,
    Rows,
    bounded,
    refuse,
    too_many_columns,
)
from row_batches.mapping.cells import JsonCell

Objects = Iterator[tuple[str, Mapping[str, Any] | Found] | Alike]
"""The rows with their places, "line 7" or "item 7": parsed, or with the texts of their values; or several at once."""

MAX_ARRAY_BYTES = 5_000_000_000
"""The largest array. Its keys are read at about 28 MB/s with the function's share of a core, in each call."""
_BLOCK_BYTES = 65_536
_WHOLE_LINES = (
    "write one whole object in each line, or one array of objects: [{…}, {…}]. If the rows are in a list inside one "
    "object, write only this list. If the file was cut off, upload all of it"
)
_WRITE_ARRAY = "write one array of objects: [{…}, {…}]"


def stage_json_lines(file: InputFile) -> ResumableTable:
    """Prepare to stage a file with an object in each line. Raises InvalidInputError for mistakes in it."""
    return _staged(file, _objects_of_lines, MAX_FILE_BYTES)


def stage_json_array(file: InputFile) -> ResumableTable:
    """Prepare to stage a file that is one array of objects. Raises InvalidInputError for mistakes in it.

    An array over ``MAX_ARRAY_BYTES`` is refused before it is read.
    """
    return _staged(file, _objects_of_array, MAX_ARRAY_BYTES)


def _staged(
    file: InputFile, objects_of: Callable[[Iterable[bytes], Shapes, bool], Objects], max_bytes: int
) -> ResumableTable:
    shapes = Shapes()
    fix = "split it, or write it as JSON Lines"
    text = Utf8Text(bounded(file, "the JSON file", max_bytes, fix), file.form)
    keys: dict[str, None] = {}
    latest: Iterable[str] = ()
    rows = 0
    objects: Any = None
    for objects in objects_of(text, shapes, True):
        found = _keys_of(objects)
        if found is not latest:
            latest = found
            keys.update(dict.fromkeys(found))
            if len(keys) > MAX_COLUMNS:
                raise InvalidInputError([too_many_columns(len(keys))])
        rows += _count(objects)
        if file.max_rows is not None and rows >= file.max_rows:
            is_whole = False
            break
    else:
        is_whole = True
    for key in keys:
        if "\0" in key or encodable(key) != key:
            refuse(shown(encodable(key)), "a key contains a NUL character, or half of a surrogate pair", "remove it")
    if not keys:
        refuse("", "the file has no objects with keys", 'write rows such as {"id": 1, "text": "…"}')

    lists = _lists_of_objects(objects) if is_whole and rows == 1 else []

    def rows_after(skipped: int) -> Iterator[Row | Rows]:
        shapes.begin_again()
        again = objects_of(Utf8Text(file.chunks(), file.form), shapes, False)
        return _rows(_without_first(again, skipped), list(keys), lambda: staging.rows_left)

    staging = ResumableTable(file, list(keys), rows_after, lambda: [*text.warnings, *lists])
    return staging


def _lists_of_objects(row: Any) -> list[str]:
    """A warning if the only row has a list of objects, because these can be what is meant as rows."""
    item = row[1] if isinstance(row, tuple) else None
    lists = {key: value for key, value in item.items() if isinstance(value, list)} if isinstance(item, dict) else {}
    return [
        f"The file is one object, which is read as one row. If the rows are in its list {shown(key)} (with "
        f"{len(value):,} of them), write only this list."
        for key, value in lists.items()
        if value and all(isinstance(one, dict) for one in value)
    ]


def _keys_of(objects: tuple[str, Mapping[str, Any] | Found] | Alike) -> Iterable[str]:
    if isinstance(objects, Alike):
        return objects.shape.keys
    item = objects[1]
    return item[0].keys if isinstance(item, tuple) else item


def _count(objects: tuple[str, Mapping[str, Any] | Found] | Alike) -> int:
    return objects.count if isinstance(objects, Alike) else 1


def _without_first(objects: Objects, count: int) -> Objects:
    for item in objects:
        size = _count(item)
        if count >= size:
            count -= size
        elif count:
            assert isinstance(item, Alike)
            yield item.after(count)
            count = 0
        else:
            yield item


def _rows(objects: Objects, columns: list[str], rows_left: Callable[[], int | None]) -> Iterator[Row | Rows]:
    """The rows with their staged cells. Rows after the number that ``rows_left`` gives are not checked."""
    whole = tuple(columns)
    for one in objects:
        if isinstance(one, Alike):
            left = rows_left()
            alike = one if left is None else one.first_rows(left)
            yield Rows(alike.unit, alike.first, rows_of(alike, columns, _nested_cell))
            continue
        place, item = one
        if not isinstance(item, tuple):
            cells = staged_cells([_cell(item.get(key), place) for key in columns])
        else:
            shape, texts = item
            nested = partial(_nested_cell, place)
            if shape.keys == whole:
                cells = cells_of(texts, nested)
            else:
                values = dict(zip(shape.keys, texts, strict=True))
                cells = cells_of([values.get(key, "null") for key in columns], nested)
        yield place, cells


def _nested_cell(place: str, text: str) -> str:
    try:
        return staged_cell(_cell(DECODER.decode(text), place))
    except RecursionError:
        refuse(place, "a value is nested too deep", "flatten it")
    except ValueError as error:
        refuse(place, f"a value is not JSON: {reason_of(error)}", "correct it")


def _objects_of_lines(text: Iterable[bytes], shapes: Shapes, only_keys: bool) -> Objects:
    lines = 0
    for block in _blocks(text):
        try:
            found = shapes.of_lines(block.decode(), lines + 1, only_keys=only_keys)
        except UnicodeDecodeError:
            found = None
        if found is None:
            yield from _objects_one_by_one(block, shapes, lines)
        else:
            yield found
        lines += block.count(b"\n") + 1


def _objects_one_by_one(block: bytes, shapes: Shapes, lines_before: int) -> Objects:
    for number, whole_line in enumerate(block.split(b"\n"), lines_before + 1):
        line = whole_line.strip()
        if not line:
            continue
        place = f"line {number}"
        try:
            decoded = line.decode()
            found = shapes.match(decoded)
            if found is not None and found[1].end() == len(decoded):
                yield place, (found[0], found[1].groups())
                continue
            item = DECODER.decode(decoded)
        except UnicodeDecodeError as error:
            refuse(f"{place}, byte {error.start}", "the line is not UTF-8", "save the file as UTF-8")
        except RecursionError:
            refuse(place, "the line is nested too deep", "flatten it")
        except ValueError as error:
            _check_line_ends(line, place)
            if isinstance(error, json.JSONDecodeError) and is_cut(error, decoded, at_most=0):
                refuse(place, "the line ends in the middle of an object", _WHOLE_LINES)
            refuse(place, f"the line is not JSON: {reason_of(error)}", "write one whole object in each line")
        yield place, _object(item, place)
        shapes.learn(list(item))


def _blocks(text: Iterable[bytes]) -> Iterator[bytes]:
    """Some whole lines at a time, without the last line end."""
    carry = b""
    first = True
    number = 0
    for chunk in text:
        position = 0
        while position < len(chunk):
            data = carry + chunk[position : position + _BLOCK_BYTES]
            position += _BLOCK_BYTES
            block, line_end, carry = data.rpartition(b"\n")
            if line_end:
                yield block.removeprefix(codecs.BOM_UTF8) if first else block
                number += block.count(b"\n") + 1
                first = False
            if len(carry) > MAX_OBJECT_BYTES:
                _check_line_ends(carry, f"line {number + 1}")
                refuse(f"line {number + 1}", f"the line is longer than {MAX_OBJECT_BYTES:,} bytes", "shorten it")
    if carry:
        yield carry.removeprefix(codecs.BOM_UTF8) if first else carry


def _check_line_ends(line: bytes, place: str) -> None:
    """Raise InvalidInputError if the line is several objects that a CR alone separates."""
    if re.search(rb"\}\s*\r\s*\{", line):
        refuse(
            place, "the lines end with CR alone, as on old Macs", "save the file with LF or CRLF at the end of lines"
        )


def _objects_of_array(chunks: Iterable[bytes], shapes: Shapes, only_keys: bool) -> Objects:
    text = ArrayText(chunks)
    number = whole = 0
    try:
        text.take("[")
        while text.take("," if number else "", end="]"):
            if alike := text.alike(shapes, number + 1, only_keys=only_keys):
                number = whole = number + alike.count
                yield alike
                continue
            found = text.match(shapes)
            number += 1
            place = f"item {number}"
            if found is not None:
                whole = number
                yield place, (found[0], found[1].groups())
                continue
            item = text.value()
            whole = number
            yield place, _object(item, place)
            shapes.learn(list(item))
        text.take("")
    except UnicodeDecodeError:
        refuse(f"after item {whole}", "the file is not UTF-8", "save the file as UTF-8")
    except RecursionError:
        refuse(f"after item {whole}", "the item is nested too deep", "flatten it")
    except TooLongError:
        refuse(f"after item {whole}", f"an item is longer than {MAX_OBJECT_BYTES:,} characters", _WRITE_ARRAY)
    except ValueError as error:
        refuse(f"after item {whole}", f"the file is not JSON: {reason_of(error)}", _WRITE_ARRAY)


def _object(item: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        refuse(
            place,
            "a row is not an object",
            'write rows such as {"id": 1, "text": "…"}; if it is CSV, set input_format.type: csv',
        )
    return item


def _cell(value: Any, place: str) -> str:
    """The cell of a value. A missing key counts as null."""
    if isinstance(value, str):
        return value
    if isinstance(value, WrittenNumber):
        return JsonCell(value.text)
    try:
        return JsonCell(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=float, allow_nan=False))
    except RecursionError:
        refuse(place, "a value is nested too deep", "flatten it")
    except (ValueError, OverflowError) as error:
        refuse(place, f"a value cannot be written: {error}", "correct it")
