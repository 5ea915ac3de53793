"""Changes of a document that is being put together, and the keys of an answer. The pages' tests have the rest."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from batch_processor_client.drafts import (
    CHANGES,
    MOST_ITEMS,
    MOST_LEVELS,
    MOST_NODES,
    READING,
    RUNNING,
    Known,
    changed,
    look,
    nodes_of,
    read_text,
    text_of,
)
from batch_processor_client.errors import ClientError
from foundation.json_path import NO_MATCH, compile_path
from row_batches.document.batch_config import BatchConfig
from row_batches.document.plan import Target
from row_batches.mapping.models import DeclaredColumn

NOTHING = Known()
PARTS = ("input_format", "input_mapping", "output_mapping", "output_format", "execution_config", "trial", "target")


def test_a_value_is_set_and_removed_with_the_objects_that_it_leaves_empty() -> None:
    given = {"path": "execution_config.stop_after.cost_usd", "type": "number", "value": "2.50"}
    document = changed({"target": {"type": "tool", "name": "x"}}, "set", given, NOTHING)
    assert document["execution_config"] == {"stop_after": {"cost_usd": 2.5}}
    assert changed(document, "set", {**given, "value": " "}, NOTHING) == {"target": {"type": "tool", "name": "x"}}


def test_a_change_leaves_the_document_that_it_is_given() -> None:
    document: dict[str, Any] = {"output_mapping": {"columns": [{"name": "a", "source": "$.a"}]}}
    before = text_of(document)
    changed(document, "set", {"path": "output_mapping.columns[0].name", "value": "b"}, NOTHING)
    changed(document, "add_column", {"value": "$.c"}, NOTHING)
    assert text_of(document) == before


@pytest.mark.parametrize(
    ("moved", "to", "order"), [("0", "2", "bca"), ("2", "0", "cab"), ("1", "1", "abc"), ("0", "1", "bac")]
)
def test_a_column_of_the_output_is_moved_to_another_place(moved: str, to: str, order: str) -> None:
    document: dict[str, Any] = {"output_mapping": {"columns": [{"name": name, "source": "$.x"} for name in "abc"]}}
    after = changed(document, "move_column", {"value": moved, "to": to}, NOTHING)
    assert [column["name"] for column in after["output_mapping"]["columns"]] == list(order)


@pytest.mark.parametrize(("moved", "to"), [("5", "0"), ("x", "0"), ("", ""), ("0", "x")])
def test_a_column_that_is_not_there_any_more_is_not_moved(moved: str, to: str) -> None:
    document: dict[str, Any] = {"output_mapping": {"columns": [{"name": "a", "source": "$.a"}]}}
    with pytest.raises(ClientError, match="no such column"):
        changed(document, "move_column", {"value": moved, "to": to}, NOTHING)


@pytest.mark.parametrize("path", ["", "[0]", "a..b", "a b", "a[x]", "output_mapping.columns[5].name"])
def test_a_place_that_the_document_cannot_have_is_refused(path: str) -> None:
    with pytest.raises(ClientError):
        changed({"output_mapping": {"columns": []}}, "set", {"path": path, "value": "x"}, NOTHING)


@pytest.mark.parametrize("change", [one.name for one in CHANGES])
@pytest.mark.parametrize("part", [None, 5, "text", [], [3], {"columns": 5}, {"column_mappings": [1]}])
def test_a_change_of_a_document_with_a_mistake_is_made_or_refused_but_never_fails(change: str, part: Any) -> None:
    document = dict.fromkeys(PARTS, part)
    given = {"path": "output_mapping.columns", "field": "a", "value": "b", "name": "xlsx"}
    with suppress(ClientError):
        assert isinstance(changed(document, change, given, NOTHING), dict)


@pytest.mark.parametrize("part", [None, 5, "text", [], [3], {"columns": 5}, {"columns": [3]}, {"name": 7}])
def test_a_document_with_mistakes_is_looked_at(part: Any) -> None:
    found = look(dict.fromkeys(PARTS, part), NOTHING)
    assert "csv_s3_uri" in [problem.path for problem in found.problems]


def test_columns_get_names_that_no_other_column_has() -> None:
    document: dict[str, Any] = {}
    known = Known(names=["label"])
    for path in ("$.label", "$.data.label", "$.items[*].id", "$"):
        document = changed(document, "add_column", {"value": path}, known)
    names = [column["name"] for column in document["output_mapping"]["columns"]]
    assert names == ["label_2", "label_3", "id", "answer"]


def test_a_chosen_target_writes_the_columns_that_it_declares_unless_the_document_has_its_own() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:x"
    plain = Target(name="echo", type="tool", arn=arn, invocation="lambda")
    one = plain.model_copy(update={"name": "one", "output": (DeclaredColumn(name="label"),)})
    two = plain.model_copy(update={"name": "two", "output": (DeclaredColumn(name="score", type="number"),)})
    own: dict[str, Any] = {"output_mapping": {"columns": [{"name": "mine", "source": "$.mine"}]}}

    def chosen(document: dict[str, Any], target: Target, before: Target | None = None) -> dict[str, Any]:
        known = Known(target, names=["text"], before=before)
        return changed(document, "target", {"value": target.name}, known)

    def columns(document: dict[str, Any]) -> list[str]:
        return [column["name"] for column in document.get("output_mapping", {}).get("columns", [])]

    assert columns(chosen({}, one)) == ["label"]
    assert columns(chosen(chosen({}, one), two, before=one)) == ["score"]
    assert columns(chosen(chosen({}, one), plain, before=one)) == []
    assert columns(chosen(own, two, before=one)) == ["mine"]


@pytest.mark.parametrize("setting", [*READING, *RUNNING], ids=lambda setting: setting.path)
def test_each_field_of_the_page_is_a_field_of_the_document(setting: Any) -> None:
    model: Any = BatchConfig
    for name in setting.path.split("."):
        field = model.model_fields[name]
        model = next(
            (
                one
                for one in (field.annotation, *getattr(field.annotation, "__args__", ()))
                if hasattr(one, "model_fields")
            ),
            None,
        )
    assert setting.value(changed({}, "set", {"path": setting.path, "value": "5"}, NOTHING)) == "5"


def test_each_key_of_an_answer_has_the_path_of_its_value() -> None:
    answer = {"data": {"a b": 1, 'say "hi"': [{"x": None}, 2, 3, 4]}, "plain": "text"}
    nodes = nodes_of(answer)
    assert nodes[0].path == "$"
    for node in nodes:
        assert compile_path(node.path).first(answer) is not NO_MATCH
    assert sum(node.path.endswith("[*]") for node in nodes) == 1
    assert sum(node.level == 3 and node.path.endswith("]") and "[*]" not in node.path for node in nodes) == MOST_ITEMS


def test_a_large_answer_shows_its_first_keys() -> None:
    deep: Any = "end"
    for _ in range(40):
        deep = {"in": deep}
    assert max(node.level for node in nodes_of(deep)) == MOST_LEVELS
    assert len(nodes_of({str(number): number for number in range(10_000)})) == MOST_NODES


def test_a_text_that_is_no_document_is_refused() -> None:
    for text in ("{", "5", "[]", "[" * 100_000):
        with pytest.raises(ClientError):
            read_text(text)
    for number, said in (
        ("9" * 5_000, "too many digits"),
        ("NaN", "NaN"),
        ("-Infinity", "Infinity"),
        ("1e999", "large"),
    ):
        with pytest.raises(ClientError, match=f"The document is not JSON: .*{said}"):
            read_text(f'{{"execution_config": {{"max_rows": {number}}}}}')
    assert read_text(" ") == {}
    assert read_text('{"input_s3_uri": "s3://a/b"}') == {"csv_s3_uri": "s3://a/b"}
