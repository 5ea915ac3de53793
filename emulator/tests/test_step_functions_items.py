"""Items of a Distributed Map: readers, ItemSelector, ItemBatcher."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.testing import LocalAws
from emulator.tests.machines import Bucket, Machines, csv_reader, distributed, jsonata

pytestmark = pytest.mark.local_aws


@pytest.fixture(scope="module")
def machines(local_aws: LocalAws) -> Machines:
    return Machines(local_aws)


@pytest.fixture
def bucket(local_aws: LocalAws) -> Bucket:
    return Bucket(local_aws)


def read(machines: Machines, bucket: Bucket, text: str | bytes, config: dict[str, Any] | None = None) -> Any:
    """Items of a CSV file as children receive them, in order."""
    bucket.put("items.csv", text)
    state = distributed(ItemReader=csv_reader("items.csv", config))
    return machines.run(jsonata({"Map": state}), {"bucket": bucket.name}).output()


def test_a_csv_file_is_read_with_bucket_and_key_from_jsonata(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html"""
    assert read(machines, bucket, "a,b\n1,2\n3,4\n") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_version_pins_what_is_read(machines: Machines, bucket: Bucket, local_aws: LocalAws) -> None:
    """dg/input-output-itemreader.html: VersionId"""
    s3 = local_aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket.name, Key="items.csv", Body=b"a\nold\n")["VersionId"]
    bucket.put("items.csv", "a\nnew\n")
    reader = csv_reader("items.csv", VersionId="{% $states.input.version %}")
    run = machines.run(jsonata({"Map": distributed(ItemReader=reader)}), {"bucket": bucket.name, "version": version})
    assert run.output() == [{"a": "old"}]


def test_a_backslash_is_removed_and_what_follows_is_literal(machines: Machines, bucket: Bucket) -> None:
    """dg/example-csv-parse-dist-map.html: backslash before quote, delimiter and backslash; removed before others."""
    text = 'a,b\nC:\\temp,x\\,y\n"say \\"hi\\"",D:\\\\data\n'
    assert read(machines, bucket, text) == [{"a": "C:temp", "b": "x,y"}, {"a": 'say "hi"', "b": "D:\\data"}]


def test_quoted_fields_hold_delimiters_newlines_and_doubled_quotes(machines: Machines, bucket: Bucket) -> None:
    """dg/example-csv-parse-dist-map.html"""
    assert read(machines, bucket, 'a,b\n"x,y","l1\nl2"\n"""q""",2\n') == [
        {"a": "x,y", "b": "l1\nl2"},
        {"a": '"q"', "b": "2"},
    ]


def test_short_rows_are_filled_and_long_rows_cut(machines: Machines, bucket: Bucket) -> None:
    """dg/example-csv-parse-dist-map.html; recording: item_reader_csv.json"""
    assert read(machines, bucket, "a,b\n1\n1,2,3\n   \n") == [
        {"a": "1", "b": ""},
        {"a": "1", "b": "2"},
        {"a": "   ", "b": ""},
    ]


@pytest.mark.parametrize(
    ("name", "delimiter"), [("COMMA", ","), ("PIPE", "|"), ("SEMICOLON", ";"), ("SPACE", " "), ("TAB", "\t")]
)
def test_each_delimiter_is_known(machines: Machines, bucket: Bucket, name: str, delimiter: str) -> None:
    """dg/input-output-itemreader.html: CSVDelimiter"""
    text = f"a{delimiter}b\n1{delimiter}2\n"
    assert read(machines, bucket, text, {"CSVDelimiter": name}) == [{"a": "1", "b": "2"}]


def test_given_headers_make_the_first_line_a_row(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html: CSVHeaderLocation GIVEN"""
    config = {"CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x", "y"]}
    assert read(machines, bucket, "1,2\n3,4\n", config) == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


def test_repeated_headers_fail_the_map_run(machines: Machines, bucket: Bucket) -> None:
    """recording: item_reader_csv.json, map_item_reader_csv_headers_decl_duplicate_headers"""
    bucket.put("items.csv", "a,a\n1,2\n")
    run = machines.run(jsonata({"Map": distributed(ItemReader=csv_reader("items.csv"))}), {"bucket": bucket.name})
    ended = run.ended()
    assert (ended["error"], ended["cause"]) == ("States.ItemReaderFailed", "CSV headers cannot contain duplicates.")
    assert "MapRunFailed" in run.event_types()


def test_a_field_may_be_larger_than_pythons_default(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html: an item of up to 8 MB may be read when the ItemSelector makes it small."""
    bucket.put("items.csv", f'a,b\n1,"{"x" * 300_000}"\n')
    state = distributed(
        ItemReader=csv_reader("items.csv"), ItemSelector={"a": "{% $states.context.Map.Item.Value.a %}"}
    )
    assert machines.run(jsonata({"Map": state}), {"bucket": bucket.name}).output() == [{"a": "1"}]


def test_items_too_large_for_a_child_fail_the_map(machines: Machines, bucket: Bucket) -> None:
    """dg/service-quotas.html: 256 KiB for the input of an execution"""
    bucket.put("items.csv", f'a\n"{"x" * 300_000}"\n')
    run = machines.run(jsonata({"Map": distributed(ItemReader=csv_reader("items.csv"))}), {"bucket": bucket.name})
    assert run.ended()["error"] == "States.DataLimitExceeded"


def json_reader(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": config,
        "Arguments": {"Bucket": "{% $states.input.bucket %}", "Key": "items"},
    }


def test_json_lines_end_at_a_newline_only(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html: InputType JSONL"""
    items = [{"t": "one\u2028two\x85three"}, {"t": "four"}]
    bucket.put("items", "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    state = distributed(ItemReader=json_reader({"InputType": "JSONL"}))
    assert machines.run(jsonata({"Map": state}), {"bucket": bucket.name}).output() == items


def test_a_json_array_may_sit_below_a_pointer(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html: ItemsPointer"""
    bucket.put("items", json.dumps({"stock": {"all": [1, 2, 3]}}))
    state = distributed(ItemReader=json_reader({"InputType": "JSON", "ItemsPointer": "/stock/all"}))
    assert machines.run(jsonata({"Map": state}), {"bucket": bucket.name}).output() == [1, 2, 3]


def test_max_items_from_jsonata_bounds_the_items_and_zero_does_not(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itemreader.html: MaxItems; recording: max_items.json"""
    bucket.put("items.csv", "a\n1\n2\n3\n")
    reader = csv_reader("items.csv", {"MaxItems": "{% $states.input.most %}"})
    machine = machines.create(jsonata({"Map": distributed(ItemReader=reader)}))
    counts = [len(machines.start(machine, {"bucket": bucket.name, "most": most}).output()) for most in (2, 0)]
    assert counts == [2, 3]


def test_a_missing_object_is_an_item_reader_failure(machines: Machines, bucket: Bucket) -> None:
    """dg/concepts-error-handling.html: States.ItemReaderFailed"""
    run = machines.run(jsonata({"Map": distributed(ItemReader=csv_reader("absent.csv"))}), {"bucket": bucket.name})
    assert run.ended()["error"] == "States.ItemReaderFailed"


def test_the_selector_sees_index_value_source_and_outer_variables(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-contextobject.html: Map.Item; dg/workflow-variables.html"""
    bucket.put("items.csv", "a\n7\n8\n")
    selector = {
        "i": "{% $states.context.Map.Item.Index %}",
        "v": "{% $states.context.Map.Item.Value.a %}",
        "s": "{% $states.context.Map.Item.Source %}",
        "plan": "{% $plan %}",
    }
    states = {
        "Plan": {"Type": "Pass", "Assign": {"plan": "p1"}, "Next": "Map"},
        "Map": distributed(ItemReader=csv_reader("items.csv"), ItemSelector=selector),
    }
    source = f"S3://{bucket.name}/items.csv"
    assert machines.run(jsonata(states), {"bucket": bucket.name}).output() == [
        {"i": 0, "v": "7", "s": source, "plan": "p1"},
        {"i": 1, "v": "8", "s": source, "plan": "p1"},
    ]


def test_selected_items_are_batched_with_a_batch_input(machines: Machines, bucket: Bucket) -> None:
    """dg/input-output-itembatcher.html, dg/input-output-fields-dist-map.html: ItemSelector, then ItemBatcher"""
    bucket.put("items.csv", "a\n1\n2\n3\n")
    state = distributed(
        ItemReader=csv_reader("items.csv"),
        ItemSelector={"i": "{% $states.context.Map.Item.Index %}"},
        ItemBatcher={
            "MaxItemsPerBatch": "{% $states.input.size %}",
            "BatchInput": {"plan": {"key": "{% $states.input.bucket %}"}, "fixed": 1},
        },
    )
    head = {"plan": {"key": bucket.name}, "fixed": 1}
    assert machines.run(jsonata({"Map": state}), {"bucket": bucket.name, "size": 2}).output() == [
        {"BatchInput": head, "Items": [{"i": 0}, {"i": 1}]},
        {"BatchInput": head, "Items": [{"i": 2}]},
    ]


def test_batches_end_at_their_bytes(machines: Machines) -> None:
    """dg/input-output-itembatcher.html: MaxInputBytesPerBatch"""
    state = distributed(
        Items="{% [1..6].{'t': $pad('', 90, 'ä')} %}",
        ItemBatcher={"MaxItemsPerBatch": 100, "MaxInputBytesPerBatch": "{% 500 %}"},
    )
    sizes = [len(batch["Items"]) for batch in machines.run(jsonata({"Map": state})).output()]
    assert sizes == [2, 2, 2]


def test_children_are_fresh_contexts(machines: Machines) -> None:
    """dg/workflow-variables.html: no outer variables; dg/input-output-contextobject.html: the child's own execution"""
    look = {
        "Type": "Pass",
        "Output": {
            "plan": "{% $exists($plan) %}",
            "input": "{% $states.context.Execution.Input %}",
            "map": "{% $exists($states.context.Map) %}",
            "id": "{% $states.context.Execution.Id %}",
        },
        "End": True,
    }
    states = {
        "Plan": {"Type": "Pass", "Assign": {"plan": 1}, "Next": "Map"},
        "Map": distributed({"Look": look}, Items="{% [5] %}", Label="rows"),
    }
    run = machines.run(jsonata(states), {"outer": True})
    [seen] = run.output()
    assert (seen["plan"], seen["input"], seen["map"]) == (False, 5, False)
    assert seen["id"].rpartition(":")[0] == run.arn.rpartition(":")[0] + "/rows"
