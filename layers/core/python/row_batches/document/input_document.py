"""Reads the input document (docs/reference/input-document.md): returns the model, or raises every problem at once.

``header`` has the checks that need the CSV's header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from foundation.errors import InvalidInputError, Problem
from foundation.model_problems import ModelProblems, shown_unless_secret
from foundation.problems import path_of, shown
from row_batches.document.batch_config import STARTED_BY, BatchConfig
from row_batches.mapping.models import MAX_OUTPUT_COLUMNS

_PROBLEMS = ModelProblems(BatchConfig)
MAX_LEVELS = 100
"""Most levels of nested objects and lists: fewer than any step of a run can handle."""
_LEVELS_SHOWN = 3
_OPTIONAL_SECTIONS = frozenset(
    {"input_format", "input_mapping", "output_mapping", "output_format", "execution_config", "notification_config"}
)
"""For these, null is the same as absent: an expression that builds a document cannot always omit a key."""
INPUT = "csv_s3_uri"
INPUT_ALIAS = "input_s3_uri"
"""Another name of ``INPUT``."""


def with_one_name(document: Any) -> Any:
    """The document with its input under ``INPUT``; unchanged if it has ``INPUT``, or no ``INPUT_ALIAS``."""
    if not isinstance(document, dict) or INPUT_ALIAS not in document or document.get(INPUT) is not None:
        return document
    return {INPUT if name == INPUT_ALIAS else name: value for name, value in document.items() if name != INPUT}


def as_written(document: Any, problems: Iterable[Problem]) -> list[Problem]:
    """The problems with the name of the input that ``document`` has."""
    if with_one_name(document) is document:
        return list(problems)
    return [problem._replace(path=INPUT_ALIAS) if problem.path == INPUT else problem for problem in problems]


def parse_batch_config(document: object, *, work_retention_days: int | None = None) -> BatchConfig:
    """The model of an input document. Raises InvalidInputError with every problem that can be found without the CSV.

    ``work_retention_days`` is the deployment's; only rows in DynamoDB can have a different ``ttl_days``. If the
    document has texts that UTF-8 cannot encode, or more than ``MAX_LEVELS``, only these problems are listed.
    """
    if not isinstance(document, dict):
        raise InvalidInputError([Problem("input", shown(document), "not a JSON object", "start with {...}")])
    named = with_one_name(document)
    document = {
        name: value
        for name, value in named.items()
        if name not in (INPUT_ALIAS, STARTED_BY) and not (name in _OPTIONAL_SECTIONS and value is None)
    }
    # First, because the later steps would crash on these instead of refusing them.
    unwritable = list(_problems_of_writing(document))
    if unwritable:
        raise InvalidInputError(unwritable)
    problems = list(_problems_across_fields(document, work_retention_days))
    if INPUT_ALIAS in named:
        message = f"{INPUT} is given too, and both name the input"
        problems.append(Problem(INPUT_ALIAS, shown(named[INPUT_ALIAS]), message, "leave one of them out"))
    try:
        config = BatchConfig.model_validate(document)
    except ValidationError as invalid:
        raise InvalidInputError([*_PROBLEMS.of(invalid), *problems]) from None
    if problems:
        raise InvalidInputError(problems)
    return config


def _problems_of_writing(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of values that JSON can hold but that cannot be written again. Not recursive, because nesting is one."""
    too_deep: set[str] = set()
    left: list[tuple[tuple[int | str, ...], Any]] = [((), document)]
    while left:
        location, value = left.pop()
        if isinstance(value, str):
            if not _is_writable(value):
                yield Problem(
                    path_of(*location),
                    shown_unless_secret(location, value),
                    "has half of a surrogate pair, which is not a character",
                    "write the whole character, or leave it out",
                )
        elif isinstance(value, dict | list):
            if len(location) >= MAX_LEVELS:
                too_deep.add(path_of(*location[:_LEVELS_SHOWN]))
                continue
            members = list(value.items() if isinstance(value, dict) else enumerate(value))
            for name, _ in members:
                if isinstance(name, str) and not _is_writable(name):
                    yield Problem(
                        path_of(*location, name),
                        "",
                        "the name has half of a surrogate pair, which is not a character",
                        "write the whole character, or leave it out",
                    )
            left += [((*location, name), member) for name, member in reversed(members)]
    for path in sorted(too_deep):
        yield Problem(path, "", f"nested deeper than {MAX_LEVELS} levels", "flatten it, or pass it as a JSON text")


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problems_across_fields(document: Mapping[str, Any], work_retention_days: int | None) -> Iterator[Problem]:
    """Problems across fields. They are read from the raw document, so that a mistake elsewhere does not hide them."""
    execution = section(document, "execution_config")
    yield from _problems_of_storage(execution, work_retention_days)
    if execution.get("only_causes") and not execution.get("resume_from"):
        yield Problem(
            "execution_config.only_causes",
            "",
            "it names causes of an earlier execution, and no earlier execution is named",
            "name that execution in execution_config.resume_from, or leave it out",
        )
    if isinstance(document.get("trial"), dict) and execution.get("storage_mode") == "inline":
        yield Problem(
            "execution_config.storage_mode",
            "inline",
            "an inline run has few rows, so it has no trial",
            'write "s3", "dynamodb" or "auto", or leave trial out',
        )
    stop_after = section(execution, "stop_after")
    if isinstance(execution.get("stop_after"), dict):
        given = [name for name in ("failed_rows", "failed_percent") if stop_after.get(name) is not None]
        if len(given) == 2:
            fix = "give only one of them: failed_rows or failed_percent"
            yield Problem("execution_config.stop_after", "", "both limits of failed rows are given", fix)
        if not given and stop_after.get("cost_usd") is None:
            fix = "give failed_rows, failed_percent or cost_usd"
            yield Problem("execution_config.stop_after", "", "no limit is given", fix)
    fields = [
        field
        for field in section(section(document, "input_mapping"), "column_mappings").values()
        if isinstance(field, str)
    ]
    for field, count in Counter(fields).items():
        if count > 1:
            yield Problem(
                "input_mapping.column_mappings",
                shown(field),
                f"{count} columns are mapped to one field",
                "map each column to a different field, or join them with a concat transformation",
            )
    columns = section(document, "output_mapping").get("columns")
    if isinstance(columns, list):
        yield from _problems_of_output_columns(columns)


def _problems_of_storage(execution: Mapping[str, Any], work_retention_days: int | None) -> Iterator[Problem]:
    """The settings that are only for rows in DynamoDB."""
    if execution.get("storage_mode") == "dynamodb":
        return
    days = execution.get("ttl_days")
    if type(days) is int and work_retention_days is not None and 1 <= days <= 3_650 and days != work_retention_days:
        yield Problem(
            "execution_config.ttl_days",
            str(days),
            f"rows in S3 are kept for the deployment's {work_retention_days} days",
            "leave it out, change the deployment's work_retention_days, or write storage_mode dynamodb",
        )
    if execution.get("enable_compression") is True:
        yield Problem(
            "execution_config.enable_compression",
            "true",
            "only rows in DynamoDB are compressed",
            "leave it out, or write storage_mode dynamodb",
        )


def _problems_of_output_columns(columns: list[Any]) -> Iterator[Problem]:
    if len(columns) > MAX_OUTPUT_COLUMNS:
        yield Problem(
            "output_mapping.columns",
            f"{len(columns):,} columns",
            f"more than {MAX_OUTPUT_COLUMNS:,} mapped columns",
            "keep the ones that are needed; a json_string column can hold a whole object",
        )
    first: dict[str, int] = {}
    for index, column in enumerate(columns):
        name = column.get("name") if isinstance(column, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield Problem(
                f"output_mapping.columns[{index}].name",
                shown(name),
                f"the name is used twice, first by columns[{first[name]}]",
                "give each column a different name",
            )


def section(document: Any, name: str) -> Mapping[str, Any]:
    """A section of a document that is not checked yet; empty if it is missing or not an object."""
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}
