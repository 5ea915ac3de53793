"""Items of a Distributed Map (dg/input-output-itemreader.html, dg/example-csv-parse-dist-map.html)."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import s3, stepfunctions
from ministack.services.stepfunctions import _ExecutionError as StateError

from emulator.step_functions.roles import Role

MAX_ITEM_BYTES = 8 * 1024 * 1024
MAX_HEADER_BYTES = 10 * 1024
CONFIG_FIELDS = (
    "CSVDelimiter",
    "CSVHeaderLocation",
    "CSVHeaders",
    "InputType",
    "ItemsPointer",
    "MaxItems",
    "MaxItemsPath",
    "Transformation",
)
DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


@dataclass(frozen=True)
class Source:
    """The items of a map, and the value of `$states.context.Map.Item.Source`. Each call of `read` reads them again."""

    read: Callable[[], Iterator[Any]]
    name: str

    def count(self) -> int:
        return sum(1 for _ in self.read())


def refuse_unknown(given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    """Refuse fields that the local AWS would otherwise ignore.

    Raises:
        StateError: States.Runtime.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise StateError("States.Runtime", f"{what}: the local AWS does not support {', '.join(unknown)}.")


def reader_error(cause: str) -> StateError:
    return StateError("States.ItemReaderFailed", cause)


def open_source(resource: str, arguments: dict[str, Any], config: dict[str, Any], max_items: int, role: Role) -> Source:
    """The items that an ItemReader reads. `max_items` 0 is no limit (recording: max_items.json).

    Raises:
        StateError: States.ItemReaderFailed, also where the role may not read.
    """
    refuse_unknown(arguments, ("Bucket", "Key", "VersionId", "Prefix"), "ItemReader")
    refuse_unknown(config, CONFIG_FIELDS, "ReaderConfig")
    bucket = arguments.get("Bucket", "")
    if resource.endswith(":s3:getObject"):
        key = arguments.get("Key", "")
        version = arguments.get("VersionId")
        body = read_object(bucket, key, version, role)
        first, name = _parser(body, config, key), f"S3://{bucket}/{key}"
    elif resource.endswith(":s3:listObjectsV2"):
        first, name = _listing(bucket, arguments.get("Prefix", ""), config, role), f"S3://{bucket}"
    else:
        raise StateError("States.Runtime", f"ItemReader resource {resource} is not supported by the local AWS.")
    limit = max_items or None
    return Source(lambda: itertools.islice(first(), limit), name)


def read_object(bucket: str, key: str, version: str | None, role: Role) -> bytes:
    """An object's bytes, read with the machine's role.

    Raises:
        StateError: States.ItemReaderFailed.
    """
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    denial = role.denial(action, f"arn:aws:s3:::{bucket}/{key}")
    if denial:
        raise reader_error(f"{denial} (Service: S3, Status Code: 403)")
    query = {"versionId": [version]} if version else {}
    status, _headers, body = s3._get_object(bucket, key, {"authorization": "internal"}, query)
    if status != 200:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        raise reader_error(f"{_s3_message(text)} (Service: S3, Status Code: {status}, Bucket: {bucket}, Key: {key})")
    return body if isinstance(body, bytes) else str(body).encode()


def _s3_message(text: str) -> str:
    start, end = text.find("<Message>"), text.find("</Message>")
    return text[start + len("<Message>") : end] if 0 <= start < end else "The object could not be read."


def _listing(bucket: str, prefix: str, config: dict[str, Any], role: Role) -> Callable[[], Iterator[Any]]:
    denial = role.denial("s3:ListBucket", f"arn:aws:s3:::{bucket}")
    if denial:
        raise reader_error(f"{denial} (Service: S3, Status Code: 403)")
    if config.get("Transformation", "NONE") != "NONE":
        raise StateError("States.Runtime", "ItemReader Transformation is not supported by the local AWS.")
    stored = s3._buckets.get(bucket)
    if stored is None:
        raise reader_error(f"The specified bucket does not exist (Service: S3, Status Code: 404, Bucket: {bucket})")
    listed = [
        {
            "Etag": found.get("etag", ""),
            "Key": key,
            "LastModified": stepfunctions._epoch_seconds(found.get("last_modified")),
            "Size": found.get("size", 0),
            "StorageClass": found.get("storage_class") or "STANDARD",
        }
        for key, found in sorted(stored["objects"].items())
        if key.startswith(prefix)
    ]
    return lambda: iter(listed)


def _parser(body: bytes, config: dict[str, Any], key: str) -> Callable[[], Iterator[Any]]:
    kind = config.get("InputType", "JSON")
    if key.endswith((".gz", ".zstd")):
        raise StateError("States.Runtime", "Compressed items are not supported by the local AWS.")
    if kind == "CSV":
        headers, first_row = _csv_headers(body, config)
        return lambda: _csv_items(body, config, headers, first_row)
    if kind == "JSONL":
        return lambda: _json_lines(body)
    if kind == "JSON":
        values = _json_values(body, config.get("ItemsPointer"))
        return lambda: iter(values)
    raise StateError("States.Runtime", f"InputType {kind} is not supported by the local AWS.")


def csv_records(body: bytes, delimiter: str) -> Iterator[list[str]]:
    """Records of a CSV file by AWS's rules (dg/example-csv-parse-dist-map.html).

    A backslash is removed and what follows it is literal; quotes are optional; a doubled quote is a quote. Blank
    lines are skipped, lines of blanks are not (recording: item_reader_csv.json).
    """
    csv.field_size_limit(2 * MAX_ITEM_BYTES)
    text = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline="")
    try:
        for record in csv.reader(text, delimiter=delimiter, escapechar="\\", doublequote=True):
            if record:
                yield record
    except (csv.Error, UnicodeDecodeError) as error:
        raise reader_error(f"The CSV file could not be parsed: {error}") from error


def _delimiter(config: dict[str, Any]) -> str:
    name = config.get("CSVDelimiter", "COMMA")
    if name not in DELIMITERS:
        raise StateError("States.Runtime", f"CSVDelimiter {name} is not one of {', '.join(DELIMITERS)}.")
    return DELIMITERS[name]


def _csv_headers(body: bytes, config: dict[str, Any]) -> tuple[list[str], int]:
    location = config.get("CSVHeaderLocation")
    if location == "GIVEN":
        headers, first_row = list(config.get("CSVHeaders") or []), 0
    elif location == "FIRST_ROW":
        headers, first_row = next(csv_records(body, _delimiter(config)), []), 1
    else:
        raise StateError("States.Runtime", "CSVHeaderLocation must be FIRST_ROW or GIVEN.")
    if len(set(headers)) != len(headers):
        raise reader_error("CSV headers cannot contain duplicates.")
    if sum(len(header.encode()) for header in headers) + len(headers) > MAX_HEADER_BYTES:
        raise reader_error("CSV headers cannot exceed 10 KiB.")
    return headers, first_row


def _csv_items(body: bytes, config: dict[str, Any], headers: list[str], first_row: int) -> Iterator[Any]:
    """Rows as objects: missing cells are empty strings, extra cells are dropped."""
    width = len(headers)
    for record in itertools.islice(csv_records(body, _delimiter(config)), first_row, None):
        if len(record) < width:
            record.extend([""] * (width - len(record)))
        yield dict(zip(headers, record, strict=False))


def _json_lines(body: bytes) -> Iterator[Any]:
    """Read one JSON value from each line. Only a newline ends a line."""
    for number, line in enumerate(io.BytesIO(body), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise reader_error(f"Line {number} is not valid JSON: {error}") from error


def _json_values(body: bytes, pointer: str | None) -> Any:
    try:
        value = json.loads(body)
        for part in (pointer or "").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise reader_error(f"The JSON file could not be read: {error!r}") from error
    if not isinstance(value, list):
        raise reader_error("Attempting to map over non-iterable node.")
    return value
