"""The input document: what is accepted, and what each mistake is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from foundation.errors import InvalidInputError, Problem
from row_batches.document.batch_config import STARTED_BY, BatchConfig, ExecutionConfig
from row_batches.document.header import problems_against_header
from row_batches.document.input_document import parse_batch_config
from row_batches.document.s3_location import parse_s3_uri
from row_batches.mapping.metadata_columns import DEFAULT_METADATA_COLUMNS
from row_batches.mapping.transformations import JsonPathTransformation

MINIMAL: dict[str, Any] = {"csv_s3_uri": "s3://bucket/data.csv", "target": {"type": "tool", "name": "echo"}}

FULL: dict[str, Any] = {
    "csv_s3_uri": "s3://bucket/folder/data.csv",
    "target": {
        "type": "agent",
        "name": "ticket_classifier_agent",
        "arn": "arn:aws:states:eu-west-1:123456789012:stateMachine:ticket-classifier:3",
    },
    "input_mapping": {
        "column_mappings": {"description": "ticketText", "customer email": "customerEmail"},
        "static_values": {"level": "full", "social": True, "tags": [1, None, {"a": 1.5}]},
        "transformations": {
            "prompt": {"type": "template", "config": {"template": "{t}: {description}", "variables": {"t": "title"}}},
            "both": {"type": "concat", "config": {"columns": ["title", "description"], "separator": " - "}},
            "first": {"type": "jsonpath", "config": {"column": "details", "path": "$.items[0]"}, "default": None},
            "all": {"type": "jsonpath", "config": {"column": "details", "path": "$..id"}},
            "number": {"type": "regex", "config": {"column": "title", "pattern": "No ([0-9]+)", "group": 1}},
        },
    },
    "output_mapping": {
        "columns": [
            {"name": "category", "source": "$.classification.category", "default": None},
            {"name": "score", "source": "$.score", "type": "number", "format": "%.2f", "default": 0},
        ],
        "include_original": False,
        "add_metadata": ["_status", "_row_id"],
    },
    "execution_config": {
        "max_concurrency": 5,
        "timeout_seconds": 3_600,
        "retry_policy": {
            "max_attempts": 5,
            "backoff_rate": 1.5,
            "initial_interval_seconds": 2,
            "max_delay_seconds": 30,
            "jitter": False,
            "non_retryable_errors": ["ValueError"],
        },
        "continue_on_error": True,
        "stop_after": {"failed_percent": 10},
        "batch_size": 25,
        "storage_mode": "s3",
        "ttl_days": 7,
        "max_rows": 50,
        "log_level": "DEBUG",
        "enable_compression": False,
    },
    "notification_config": {"batch_name": "Tickets 2026", "include_details": False},
    "dry_run": True,
}


def document(changes: dict[str, Any] | None = None, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """A copy of the minimal document; keys of ``changes`` are dotted paths."""
    made = copy.deepcopy(base or MINIMAL)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return made


def problems_of(given: object, **options: Any) -> list[Problem]:
    with pytest.raises(InvalidInputError) as raised:
        parse_batch_config(given, **options)
    return raised.value.problems


def test_the_smallest_document_gets_the_documented_defaults() -> None:
    config = parse_batch_config(MINIMAL)

    execution = config.execution_config
    assert (execution.max_concurrency, execution.timeout_seconds, execution.batch_size) == (1, 300, 100)
    assert (execution.continue_on_error, execution.storage_mode, execution.ttl_days) == (True, "s3", None)
    retry = execution.retry_policy
    assert (retry.max_attempts, retry.backoff_rate, retry.initial_interval_seconds) == (3, 2.0, 1)
    assert (retry.max_delay_seconds, retry.jitter, retry.non_retryable_errors) == (60, True, [])
    assert config.input_mapping.is_empty
    assert config.output_columns == ["result"]
    assert config.output_mapping.metadata_columns == list(DEFAULT_METADATA_COLUMNS)
    assert config.batch_name == "echo"
    assert config.source == ("bucket", "data.csv")


@pytest.mark.parametrize("given", [MINIMAL, FULL])
def test_a_document_comes_back_equal_from_the_plan(given: dict[str, Any]) -> None:
    config = parse_batch_config(given)

    through_python = parse_batch_config(config.model_dump(mode="json"))
    through_text = BatchConfig.model_validate_json(config.model_dump_json())

    assert through_python == through_text == config
    assert through_text.model_dump_json() == config.model_dump_json()


def test_a_default_that_was_not_given_stays_not_given_through_the_plan() -> None:
    config = parse_batch_config(FULL)

    again = BatchConfig.model_validate_json(config.model_dump_json()).input_mapping.transformations

    assert isinstance(again["first"], JsonPathTransformation)
    assert again["first"].has_default
    assert isinstance(again["all"], JsonPathTransformation)
    assert not again["all"].has_default


def test_the_key_that_links_executions_in_the_console_is_accepted_and_dropped() -> None:
    config = parse_batch_config(MINIMAL | {STARTED_BY: "arn:aws:states:…"})

    assert config == parse_batch_config(MINIMAL)


def test_an_optional_section_that_is_null_is_absent() -> None:
    sections = ("input_mapping", "output_mapping", "execution_config", "notification_config")

    assert parse_batch_config(MINIMAL | dict.fromkeys(sections)) == parse_batch_config(MINIMAL)
    assert problems_of(MINIMAL | {"target": None})[0].path == "target"


def test_metadata_columns_keep_the_order_of_the_output_whatever_the_order_asked_for() -> None:
    assert parse_batch_config(FULL).output_mapping.metadata_columns == ["_row_id", "_status"]
    assert parse_batch_config(document({"output_mapping.add_metadata": False})).output_mapping.metadata_columns == []


BAD_VALUES: list[tuple[str, Any, str, str]] = [
    # path, bad value, part of the message, part of the fix
    ("csv_s3_uri", "bucket/data.csv", "does not start with s3://", "s3://<bucket>/<key>.csv"),
    ("csv_s3_uri", "s3://bucket", "key is missing", "s3://"),
    ("csv_s3_uri", "s3://bucket/folder/" + "x" * 1_100 + "/", "more than 1,024 bytes", "s3://"),
    ("csv_s3_uri", "s3://Bad_Bucket/x.csv", "bucket's name", "s3://"),
    ("csv_s3_uri", 5, "not a text", "quotes"),
    ("target", "echo", "not an object", "{...}"),
    ("target.type", "lambda", "not an allowed value", "'agent' or 'tool'"),
    ("target.name", "no such name!", "letters, digits", "registered"),
    ("input_mapping", [], "not an object", "{...}"),
    ("input_mapping.static_values", 1, "not an object", "{...}"),
    ("output_mapping.columns", {}, "not a list", "[...]"),
    ("output_mapping.include_original", "yes", "not a boolean", "true or false"),
    ("output_mapping.add_metadata", ["_stat"], "no metadata column", "did you mean _status?"),
    ("output_mapping.add_metadata", "all", "neither a boolean nor a list", "_status"),
    ("output_mapping.add_metadata", ["_status", "_status"], "listed twice", "once"),
    ("output_mapping.extraction_methods", {}, "not a list", "[...]"),
    ("execution_config.max_concurrency", 0, "at least 1", "from 1 to 10,000"),
    ("execution_config.max_concurrency", 10_001, "at most 10,000", "from 1 to 10,000"),
    ("execution_config.max_concurrency", "5", "not a whole number", "without quotes"),
    ("execution_config.max_concurrency", True, "not a whole number", "whole number"),
    ("execution_config.max_concurrency", 1.5, "not a whole number", "whole number"),
    ("execution_config.timeout_seconds", 0, "at least 1", "from 1 to"),
    ("execution_config.continue_on_error", 1, "not a boolean", "true or false"),
    ("execution_config.retry_policy.max_attempts", 0, "at least 1", "from 1 to 100"),
    ("execution_config.retry_policy.backoff_rate", 0.5, "at least 1", "from 1 to 100"),
    ("execution_config.retry_policy.backoff_rate", "2", "not a number", "without quotes"),
    ("execution_config.retry_policy.max_delay_seconds", 0, "more than 0", "from 0 to"),
    ("execution_config.retry_policy.non_retryable_errors", "ValueError", "not a list", "[...]"),
    ("execution_config.stop_after", {}, "no limit", "failed_percent or cost_usd"),
    ("execution_config.stop_after", {"failed_rows": 1, "failed_percent": 1}, "both limits", "one"),
    ("execution_config.stop_after.failed_percent", 101, "at most 100", "from 0 to 100"),
    ("execution_config.batch_size", 0, "at least 1", "from 1 to"),
    ("execution_config.max_rows", 0, "at least 1", "from 1 to"),
    ("execution_config.storage_mode", "disk", "not an allowed value", "'s3'"),
    ("execution_config.enable_compression", True, "only rows in DynamoDB", "storage_mode dynamodb"),
    ("execution_config.enable_xray", 1, "not a boolean", "true or false"),
    ("execution_config.resume_from", "work/earlier/plan.json", "neither the name nor the ARN", "make run"),
    ("execution_config.resume_from", "a b", "neither the name nor the ARN", "make run"),
    ("execution_config.resume_from", "", "neither the name nor the ARN", "make run"),
    ("execution_config.resume_from", "x" * 81, "neither the name nor the ARN", "make run"),
    ("execution_config.resume_from", True, "not a text", "quotes"),
    ("execution_config.ttl_days", 8, "kept for the deployment's 7 days", "work_retention_days"),
    ("execution_config.log_level", "debug", "not an allowed value", "DEBUG"),
    ("notification_config.batch_name", "a/b", "letters, digits", "name"),
    ("dry_run", "true", "not a boolean", "without quotes"),
]


@pytest.mark.parametrize(("path", "value", "message", "fix"), BAD_VALUES)
def test_a_bad_value_is_named_with_its_path_and_a_fix(path: str, value: Any, message: str, fix: str) -> None:
    problems = problems_of(document({path: value}), work_retention_days=7)

    assert [problem.path for problem in problems] == [path]
    assert message in problems[0].message
    assert fix in problems[0].fix


UNKNOWN_FIELDS: list[tuple[str, str]] = [
    ("csv_uri", "did you mean csv_s3_uri?"),
    ("input_mappings", "did you mean input_mapping?"),
    ("max_concurrency", "belongs in execution_config"),
    ("execution_config.maxConcurrency", "did you mean max_concurrency?"),
    ("execution_config.retry_policy.attempts", "did you mean max_attempts?"),
    ("execution_config.max_attempts", "belongs in execution_config.retry_policy"),
    ("execution_config.dry_run", "belongs in the document itself"),
    ("input_mapping.columns_mapping", "did you mean column_mappings?"),
    ("output_mapping.colums", "did you mean columns?"),
    ("notification_config.zzz", "known: batch_name, include_details"),
]


@pytest.mark.parametrize(("path", "fix"), UNKNOWN_FIELDS)
def test_an_unknown_field_is_refused_with_the_name_that_was_probably_meant(path: str, fix: str) -> None:
    problems = problems_of(document({path: {}}))

    assert [(problem.path, problem.message) for problem in problems] == [(path, "unknown field")]
    assert fix in problems[0].fix


BAD_TRANSFORMATIONS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"config": {}}, "type", "is required", "concat, template, jsonpath, regex"),
    ({"type": "json_path", "config": {}}, "type", "unknown type", "did you mean jsonpath?"),
    ({"type": "concat", "config": {}}, "config.columns", "is required", "columns"),
    ({"type": "concat", "config": {"columns": []}}, "config.columns", "is empty", "at least one"),
    ({"type": "concat"}, "config", "is required", "config"),
    ({"type": "concat", "config": {"columns": ["a"]}, "default": 1}, "default", "unknown field", "known: type, config"),
    ({"type": "template", "config": {"template": "{a"}}, "config.template", "single {", "{name}"),
    ({"type": "template", "config": {"template": "a}"}}, "config.template", "single }", "}}"),
    ({"type": "template", "config": {"template": "{}"}}, "config.template", "no name", "{name}"),
    ({"type": "template", "config": {"template": "x", "vars": {}}}, "config.vars", "unknown field", "variables"),
    ({"type": "jsonpath", "config": {"column": "a", "path": "b"}}, "config.path", "not a JSONPath", "$.name"),
    ({"type": "jsonpath", "config": {"column": "a", "path": "$."}}, "config.path", "not a JSONPath", "$.name"),
    (
        {"type": "jsonpath", "config": {"column": "a", "path": "$", "default": 1}},
        "config.default",
        "unknown field",
        "beside config",
    ),
    (
        {"type": "jsonpath", "config": {"column": "a", "path": "$[?match(@.b, '(?=x)')]"}},
        "config.path",
        "RFC 9485",
        "$.name",
    ),
    ({"type": "jsonpath", "config": {"column": "_status", "path": "$"}}, "config.column", "metadata", "rename"),
    ({"type": "regex", "config": {"column": "a", "pattern": "(?=a)"}}, "config.pattern", "no look-ahead", "RE2"),
    ({"type": "regex", "config": {"column": "a", "pattern": r"(a)\1"}}, "config.pattern", "no back-references", "RE2"),
    ({"type": "regex", "config": {"column": "a", "pattern": "a"}}, "config.group", "has 0 groups", "parentheses"),
    (
        {"type": "regex", "config": {"column": "a", "pattern": "(a)", "group": 2}},
        "config.group",
        "has 1 groups",
        "parentheses",
    ),
    ({"type": "regex", "config": {"column": "a", "pattern": "(a)", "group": -1}}, "config.group", "at least 0", "0"),
]


@pytest.mark.parametrize(("transformation", "path", "message", "fix"), BAD_TRANSFORMATIONS)
def test_a_bad_transformation_is_named_with_its_path_and_a_fix(
    transformation: dict[str, Any], path: str, message: str, fix: str
) -> None:
    problems = problems_of(document({"input_mapping.transformations": {"prompt": transformation}}))

    assert [problem.path for problem in problems] == [f"input_mapping.transformations.prompt.{path}"]
    assert message in problems[0].message
    assert fix in problems[0].fix


BAD_COLUMNS: list[tuple[dict[str, Any], str, str]] = [
    ({"source": "$.a"}, "name", "is required"),
    ({"name": "a"}, "source", "is required"),
    ({"name": "", "source": "$"}, "name", "1 to 255 characters"),
    ({"name": "a\nb", "source": "$"}, "name", "1 to 255 characters"),
    ({"name": "_status", "source": "$"}, "name", "metadata column"),
    ({"name": "a", "source": "a.b"}, "source", "not a JSONPath"),
    ({"name": "a", "source": "$", "type": "integer"}, "type", "not an allowed value"),
    ({"name": "a", "source": "$", "default": []}, "default", "not a scalar"),
    ({"name": "a", "source": "$", "format": "%.2f"}, "format", "type number, not string"),
    ({"name": "a", "source": "$", "type": "number", "format": "%d %d"}, "format", "exactly one conversion"),
    ({"name": "a", "source": "$", "type": "number", "format": "%s"}, "format", "conversion %s"),
    ({"name": "a", "source": "$", "type": "number", "format": "%999f"}, "format", "two digits"),
    ({"name": "a", "source": "$", "type": "number", "format": "%(x)d"}, "format", "one conversion"),
    ({"name": "a", "source": "$", "type": "number", "format": "%*d"}, "format", "one conversion"),
]


@pytest.mark.parametrize(("column", "path", "message"), BAD_COLUMNS)
def test_a_bad_output_column_is_named_with_its_path(column: dict[str, Any], path: str, message: str) -> None:
    problems = problems_of(document({"output_mapping.columns": [{"name": "ok", "source": "$.ok"}, column]}))

    assert [problem.path for problem in problems] == [f"output_mapping.columns[1].{path}"]
    assert message in problems[0].message


def test_three_mistakes_in_three_places_are_all_reported_at_once() -> None:
    given = document(
        {
            "execution_config.max_concurrency": 0,
            "output_mapping.columns": [{"name": "a", "source": "$."}],
            "inputmapping": {},
        }
    )

    problems = problems_of(given)

    assert {problem.path for problem in problems} == {
        "execution_config.max_concurrency",
        "output_mapping.columns[0].source",
        "inputmapping",
    }


def test_a_mistake_in_a_field_does_not_hide_one_between_fields() -> None:
    columns = [{"name": "a", "source": "$.x"}, {"name": "a", "source": "bad"}]

    problems = problems_of(document({"output_mapping.columns": columns, "execution_config.stop_after": {}}))

    assert {problem.path for problem in problems} == {
        "output_mapping.columns[1].source",
        "output_mapping.columns[1].name",
        "execution_config.stop_after",
    }


def test_a_thousand_output_columns_are_accepted_and_one_more_is_not() -> None:
    columns = [{"name": f"c{i}", "source": f"$.c{i}"} for i in range(1_001)]

    assert len(parse_batch_config(document({"output_mapping.columns": columns[:1_000]})).output_columns) == 1_000
    assert [p.path for p in problems_of(document({"output_mapping.columns": columns}))] == ["output_mapping.columns"]


def test_two_columns_into_one_field_are_refused_because_one_would_vanish() -> None:
    problems = problems_of(document({"input_mapping.column_mappings": {"a": "x", "b": "x"}}))

    assert problems[0].path == "input_mapping.column_mappings"
    assert "2 columns" in problems[0].message


@pytest.mark.parametrize("given", [None, [], "text", 5])
def test_what_is_no_object_is_refused(given: object) -> None:
    assert problems_of(given)[0].message == "not a JSON object"


def test_what_may_be_a_secret_is_never_shown() -> None:
    secret = "sk-live-123"
    given = document(
        {
            "csv_s3_uri": f"https://host/data.csv?Signature={secret}",
            "api_key": secret,
            "execution_config.retry_policy": {"token": secret, "max_attempts": {"secret": secret}},
            "input_mapping.static_values": [secret],
            "input_mapping.transformations": {"x": {"type": "concat", "config": {"columns": secret}}},
        }
    )
    given["input_mapping"]["transformations"]["x"]["config"]["columns"] = {"password": secret}
    given["input_mapping"]["column_mappings"] = {"access_tokens": 4711}

    with pytest.raises(InvalidInputError) as raised:
        parse_batch_config(given)

    assert len(raised.value.problems) == 7
    assert secret not in str(raised.value)
    assert "4711" not in str(raised.value)


def test_long_values_are_shortened() -> None:
    problems = problems_of(document({"execution_config.log_level": "x" * 5_000}))

    assert len(problems[0].value) <= 60


def test_a_column_that_the_header_lacks_is_an_error_with_the_closest_name() -> None:
    config = parse_batch_config(FULL)
    header = ["Title", "description", "customer_email", "detail"]

    problems = problems_against_header(config, header)

    found = {problem.path: problem.fix for problem in problems}
    transformations = "input_mapping.transformations"
    assert found == {
        'input_mapping.column_mappings["customer email"]': 'did you mean "customer_email"?',
        f"{transformations}.prompt.config.variables.t": 'did you mean "Title"?',
        f"{transformations}.both.config.columns[0]": 'did you mean "Title"?',
        f"{transformations}.first.config.column": 'did you mean "detail"?',
        f"{transformations}.all.config.column": 'did you mean "detail"?',
        f"{transformations}.number.config.column": 'did you mean "Title"?',
    }


def test_a_name_in_a_template_without_a_variable_is_a_column() -> None:
    template = {"prompt": {"type": "template", "config": {"template": "{nope} {a} {_status}"}}}
    config = parse_batch_config(document({"input_mapping.transformations": template}))

    problems = problems_against_header(config, ["a", "b", "_status"])

    path = "input_mapping.transformations.prompt.config.template"
    assert [(p.path, p.message) for p in problems] == [
        (path, "the CSV has no such column"),
        (path, "a metadata column is never mapped"),
    ]
    assert problems[0].fix == "the CSV has: a, b"


@pytest.mark.parametrize("text", ["About {{a}}: {{b}}", "About ${{a}}", "About <a>"])
def test_a_template_that_names_no_column_is_an_error(text: str) -> None:
    template = {"prompt": {"type": "template", "config": {"template": text, "variables": {"a": "b"}}}}

    (problem,) = problems_against_header(
        parse_batch_config(document({"input_mapping.transformations": template})), ["a", "b"]
    )

    assert problem.path == "input_mapping.transformations.prompt.config"
    assert "every row would get the same text" in problem.message
    assert "{name} for a column, in single braces" in problem.fix


@pytest.mark.parametrize(
    ("changes", "header", "paths"),
    [
        ({"output_mapping.columns": [{"name": "a", "source": "$"}]}, ["a", "b"], ["output_mapping.columns[0].name"]),
        ({"output_mapping": {"columns": [{"name": "a", "source": "$"}], "include_original": False}}, ["a"], []),
        ({}, ["result"], ["output_mapping.columns"]),
        ({}, ["a", *DEFAULT_METADATA_COLUMNS], []),
        ({"output_mapping.columns": [{"name": "x", "source": "$"}]}, [f"c{i}" for i in range(1_500)], []),
    ],
)
def test_a_mapped_column_may_not_take_the_name_of_an_included_original(
    changes: dict[str, Any], header: list[str], paths: list[str]
) -> None:
    problems = problems_against_header(parse_batch_config(document(changes)), header)

    assert [problem.path for problem in problems] == paths


@pytest.mark.parametrize(
    ("settings", "rows", "limit"),
    [
        ({}, 100, None),
        ({"continue_on_error": False}, 100, 1),
        ({"stop_after": {"failed_rows": 7}}, 100, 7),
        ({"stop_after": {"failed_percent": 10}}, 101, 11),
        ({"stop_after": {"failed_percent": 2.2}}, 3_000, 66),
        ({"stop_after": {"failed_percent": 0.1}}, 5, 1),
        ({"continue_on_error": False, "stop_after": {"failed_rows": 7}}, 100, 1),
    ],
)
def test_the_limit_of_failed_rows_is_exact_and_rounded_up(
    settings: dict[str, Any], rows: int, limit: int | None
) -> None:
    assert ExecutionConfig.model_validate(settings).failure_limit(rows) == limit


def test_a_static_value_that_json_cannot_hold_is_refused_before_any_row_is() -> None:
    problems = problems_of(document({"input_mapping.static_values": {"ok": 1.5, "far": [float("inf")]}}))

    assert [(problem.path, problem.value) for problem in problems] == [("input_mapping.static_values.far", "")]


def test_names_may_have_any_script_and_emoji() -> None:
    columns = [{"name": "👩‍💻 größe ", "source": "$"}]

    assert parse_batch_config(document({"output_mapping.columns": columns})).output_columns == ["👩‍💻 größe "]


def test_debug_is_log_level_debug() -> None:
    assert ExecutionConfig(debug=True, log_level="ERROR").effective_log_level == "DEBUG"
    assert ExecutionConfig(log_level="ERROR").effective_log_level == "ERROR"
    assert ExecutionConfig().effective_log_level is None


def test_an_s3_address_is_taken_apart_at_the_first_slash() -> None:
    assert parse_s3_uri("s3://a-bucket/x/y z?.csv") == ("a-bucket", "x/y z?.csv")


def test_every_message_can_be_encoded() -> None:
    problems = problems_of(document({"execution_config.log_level": "\ud800"}))

    assert str(problems[0]).encode()


LONE = "a\ud800"


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        (document({"csv_s3_uri": f"s3://bucket/{LONE}"}), "csv_s3_uri", '"s3://bucket/a\\ud800"'),
        (document({"input_mapping.static_values.x": [LONE]}), "input_mapping.static_values.x[0]", ""),
        (
            document({"input_mapping.transformations.x": {"type": "concat", "config": {"separator": LONE}}}),
            "input_mapping.transformations.x.config.separator",
            '"a\\ud800"',
        ),
        (
            document({"output_mapping.columns": [{"name": "x", "source": LONE, "default": "x"}]}),
            "output_mapping.columns[0].source",
            '"a\\ud800"',
        ),
        (
            document({"input_mapping.column_mappings": {LONE: "x"}}),
            'input_mapping.column_mappings["a\\ud800"]',
            "",
        ),
        (document() | {LONE: 1}, '["a\\ud800"]', ""),
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(given: dict[str, Any], path: str, value: str) -> None:
    (problem,) = problems_of(given)

    assert (problem.path, problem.value) == (path, value)
    assert "half of a surrogate pair" in problem.message
    assert str(problem).encode()


@pytest.mark.parametrize("levels", [97, 98, 500, 50_000])
def test_nesting_is_refused_beyond_a_hundred_levels(levels: int) -> None:
    # The document, input_mapping and static_values are three levels more.
    value: Any = {}
    for _ in range(levels - 1):
        value = [value]
    given = {**MINIMAL, "input_mapping": {"static_values": {"deep": value, "other": 1}}}

    if levels == 97:
        assert parse_batch_config(given).model_dump_json()
        return
    (problem,) = problems_of(given)
    assert (problem.path, problem.message) == ("input_mapping.static_values.deep", "nested deeper than 100 levels")
