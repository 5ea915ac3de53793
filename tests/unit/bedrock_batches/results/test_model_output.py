"""From lines of output files to content or to a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batches.results.json_objects import MOST_CANDIDATES, find_objects
from bedrock_batches.results.model_output import (
    Answer,
    FailureKind,
    NoContentError,
    find_content,
    read_result,
)
from bedrock_batches.violations import GeneratedContent

CONTENT = {"title": "A title", "description": "What happened.", "tags": ["one", "two"]}
TEXT = json.dumps(CONTENT)

CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
    "metrics": {"latencyMs": 1},
}
ANTHROPIC = {
    "type": "message",
    "content": [{"type": "thinking", "thinking": "…"}, {"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
MISTRAL_TEXT = {"outputs": [{"text": TEXT, "stop_reason": "stop"}]}
MISTRAL_CHAT = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}
LLAMA = {"generation": TEXT, "prompt_token_count": 7, "generation_token_count": 3, "stop_reason": "stop"}
TITAN = {
    "inputTextTokenCount": 7,
    "results": [{"tokenCount": 3, "outputText": TEXT, "completionReason": "FINISH"}],
}
NOVA = {name: CONVERSE[name] for name in ("output", "stopReason", "usage")}


def content_in(text: str) -> GeneratedContent:
    return find_content(Answer(text)).content


def line(output: Any) -> bytes:
    return json.dumps({"recordId": "OSHA-1", "modelInput": {}, "modelOutput": output}).encode()


@pytest.mark.parametrize(
    ("output", "tokens", "reason"),
    [
        (CONVERSE, (7, 3), "end_turn"),
        (ANTHROPIC, (7, 3), "end_turn"),
        (NOVA, (7, 3), "end_turn"),
        (MISTRAL_TEXT, (0, 0), "stop"),
        (MISTRAL_CHAT, (7, 3), "stop"),
        (LLAMA, (7, 3), "stop"),
        (TITAN, (7, 3), "FINISH"),
    ],
    ids=["converse", "anthropic", "nova", "mistral text", "mistral chat", "llama", "titan"],
)
def test_the_body_of_each_family_gives_content_tokens_and_stop_reason(
    output: Any, tokens: tuple[int, int], reason: str
) -> None:
    result = read_result(line(output))

    assert result.content == GeneratedContent(title="A title", description="What happened.", tags=["one", "two"])
    assert (result.answer.input_tokens, result.answer.output_tokens) == tokens
    assert (result.record_id, result.answer.stop_reason, result.failure) == ("OSHA-1", reason, None)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{json.dumps(CONTENT, indent=2)}\n```",
        f"Here is the JSON:\n\n{TEXT}",
        f"Sure. Here is the content {{as asked}}:\n```\n{TEXT}\n```\nAnother version?",
        f'He said "{{" once. {TEXT} And "}}" later.',
        f'{{"note": "an example"}} {TEXT}',
        f'{{"result": {TEXT}}}',
        TEXT.replace("What happened.", "  What happened.\t"),
        f"\ufeff{TEXT}",
    ],
    ids=["plain", "fenced", "prefixed", "prose", "braces in prose", "second", "nested", "spaces", "BOM"],
)
def test_the_object_is_found_wherever_it_stands(text: str) -> None:
    assert content_in(text).model_dump() == CONTENT


DRAFT = json.dumps({**CONTENT, "title": "A draft"})
EXAMPLE = '{"title": "...", "description": "...", "tags": ["...", "..."]}'


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}</think>{TEXT}",
        f"<reasoning>First {DRAFT}, or</reasoning>\n{TEXT}",
        f"{DRAFT} is what I think</think>{TEXT}",
        f"The form is {EXAMPLE}. So: {TEXT}",
        f"A draft: {DRAFT}. Better: {TEXT}",
        f'The record {{"title": "Inspection 5", "site": "X"}} gives {TEXT}',
        f"{TEXT} It has the form {EXAMPLE}.",
    ],
    ids=["think", "reasoning", "thinking opened by the template", "example", "draft", "quoted record", "example last"],
)
def test_the_last_object_outside_reasoning_is_the_answer(text: str) -> None:
    assert content_in(text).model_dump() == CONTENT


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        f"<think>{TEXT}",
        f'{{"result": {TEXT}, "notes": "and',
        f'{TEXT} {{"title": "", "description": "B", "tags": []}}',
    ],
    ids=["example", "unfinished reasoning", "nested in a cut object", "last object is empty"],
)
def test_what_is_not_the_models_last_complete_answer_is_no_content(text: str) -> None:
    with pytest.raises(NoContentError):
        content_in(text)


def test_a_draft_before_an_answer_that_was_cut_off_is_no_content() -> None:
    text = f"{TEXT} On second thought: {TEXT[:-9]}"

    with pytest.raises(NoContentError, match="raise maxTokens"):
        find_content(Answer(text, stop_reason="max_tokens"))


def test_an_example_before_an_answer_that_was_cut_off_does_not_hide_that_it_was() -> None:
    with pytest.raises(NoContentError, match="raise maxTokens"):
        find_content(Answer(f"{EXAMPLE} {TEXT[:-9]}"))


def test_an_open_brace_behind_a_complete_answer_takes_nothing_from_it() -> None:
    assert content_in(f'{TEXT} I left out the placeholder {{"title"').model_dump() == CONTENT


def test_content_about_reasoning_tags_is_content() -> None:
    text = json.dumps({**CONTENT, "description": "The page shows <think> and </think> as text."})

    assert content_in(text).description == "The page shows <think> and </think> as text."


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (TEXT.replace('"two"]', '"two",],'), "JSON5 syntax"),
        ("{'title': 'A title', description: 'What happened.', tags: ['one', 'two']} // done", "JSON5 syntax"),
        (TEXT.replace('"title"', '"Title"'), "name of a field"),
        (TEXT.replace('["one", "two"]', '"one, two"'), "tags as a text"),
        (TEXT.replace('["one", "two"]', json.dumps('["one", "two"]')), "tags as a text"),
        (TEXT.replace('"two"]', '"", "two", null]'), "empty tags"),
        (json.dumps(TEXT), "JSON in a text"),
        (json.dumps({"answer": TEXT}), "JSON in a text"),
    ],
)
def test_a_lossless_repair_is_made_and_named(text: str, repair: str) -> None:
    found = find_content(Answer(text))

    assert found.content.model_dump() == CONTENT
    assert found.repairs == (repair,)


def test_tags_that_are_null_are_no_tags() -> None:
    found = find_content(Answer(TEXT.replace('["one", "two"]', "null")))

    assert (found.content.tags, found.repairs) == ([], ("tags: null",))


@pytest.mark.parametrize(
    "output",
    [
        {
            "output": {
                "message": {"content": [{"text": "I call it."}, {"toolUse": {"name": "print", "input": CONTENT}}]}
            }
        },
        {"content": [{"type": "tool_use", "id": "1", "name": "print", "input": CONTENT}], "stop_reason": "tool_use"},
        {"choices": [{"message": {"content": "", "tool_calls": [{"function": {"name": "print", "arguments": TEXT}}]}}]},
        {"content": [{"type": "tool_use", "id": "1", "name": "print", "input": {"result": CONTENT}}]},
    ],
    ids=["converse", "anthropic", "mistral", "wrapped"],
)
def test_the_input_of_a_tool_call_is_content(output: Any) -> None:
    content = read_result(line(output)).content

    assert content is not None
    assert content.model_dump() == CONTENT


def test_a_tool_call_without_our_fields_leaves_the_text_as_the_answer() -> None:
    assert find_content(Answer(TEXT, tool_input={"query": "x"})).content.model_dump() == CONTENT
    with pytest.raises(NoContentError, match="title: Field required"):
        find_content(Answer("", tool_input={"query": "x"}))


def test_a_body_nested_too_deep_is_a_failure_of_its_record() -> None:
    deep = b"[" * 5_000 + b"]" * 5_000

    result = read_result(b'{"recordId": "1", "modelOutput": ' + deep + b"}")

    assert result.content is None
    assert result.failure is not None


def test_a_long_text_of_faulty_objects_is_searched_in_bounded_time() -> None:
    """A few are read as JSON5; the rest is passed over."""
    assert find_objects("{'a': 1,} " * 10_000).objects != []


def test_line_breaks_within_strings_are_taken_as_models_write_them() -> None:
    text = '{"title": "A title", "description": "First.\nSecond.", "tags": []}'

    assert content_in(text).description == "First.\nSecond."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no text"),
        ("no JSON at all", "no complete JSON object"),
        ('{"title": "cut off', "ends inside a JSON object: raise maxTokens"),
        ('{"title": "A", "description": "B"}', "tags: Field required"),
        ('{"title": 1, "description": "B", "tags": []}', "title: Input should be a valid string"),
        ('{"title": " ", "description": "B", "tags": []}', "title: String should have at least 1 character"),
        (json.dumps({**CONTENT, "title": "x" * 501}), "title: String should have at most 500 characters"),
        (json.dumps({**CONTENT, "description": "x" * 20_001}), "description: String should have at most 20000"),
        (json.dumps({**CONTENT, "tags": ["x"] * 51}), "tags: List should have at most 50 items"),
        (json.dumps({**CONTENT, "tags": ["x" * 101]}), "tags.0: String should have at most 100 characters"),
        ('{"title": NaN}', "no complete JSON object"),
    ],
)
def test_what_does_not_validate_says_why(text: str, said: str) -> None:
    with pytest.raises(NoContentError) as raised:
        content_in(text)

    assert said in str(raised.value)


def test_the_raw_text_of_what_cannot_be_parsed_is_kept() -> None:
    output = {**CONVERSE, "output": {"message": {"content": [{"text": "I would rather not."}]}}}

    result = read_result(line(output))

    assert result.content is None
    assert result.failure is not None
    assert (result.failure.kind, result.failure.raw_text) == (FailureKind.UNREADABLE, "I would rather not.")
    assert result.answer.input_tokens == 7


@pytest.mark.parametrize("reason", ["max_tokens", "length", "LENGTH"])
def test_an_answer_cut_off_at_its_token_limit_is_named_as_such(reason: str) -> None:
    output = {**CONVERSE, "stopReason": reason, "output": {"message": {"content": [{"text": TEXT[:-5]}]}}}

    result = read_result(line(output))

    assert result.answer.truncated
    assert result.failure is not None
    assert "cut off at maxTokens" in result.failure.reason


def test_a_complete_object_in_an_answer_that_was_cut_off_afterwards_is_content() -> None:
    output = {**CONVERSE, "stopReason": "max_tokens", "output": {"message": {"content": [{"text": f"{TEXT} And"}]}}}

    assert read_result(line(output)).content is not None


def test_a_withheld_answer_is_named_as_such() -> None:
    output = {**CONVERSE, "stopReason": "guardrail_intervened", "output": {"message": {"content": [{"text": "Sorry"}]}}}

    failure = read_result(line(output)).failure

    assert failure is not None
    assert "withheld" in failure.reason


def test_an_error_in_place_of_the_output_keeps_bedrocks_code_and_message() -> None:
    text = json.dumps({"recordId": "1", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "bad request"}})

    failure = read_result(text.encode()).failure

    assert failure is not None
    assert (failure.kind, failure.code, failure.reason) == (FailureKind.REFUSED, 400, "bad request")


@pytest.mark.parametrize(
    "text",
    [b"", b"not JSON", b"[1]", b"{}", b'{"recordId": 5}', b"\xff\xfe", b'{"recordId": ""}', b"[" * 100_000],
)
def test_a_line_that_says_nothing_is_a_failure_without_a_record(text: bytes) -> None:
    result = read_result(text)

    assert (result.record_id, result.content) == ("", None)
    assert result.failure is not None


def test_lone_surrogates_in_an_answer_become_replacement_characters() -> None:
    text = line(CONVERSE).replace(b"A title", b"A \\\\ud800 title")

    content = read_result(text).content

    assert content is not None
    assert content.title == "A \ufffd title"


@pytest.mark.parametrize("opening", ["{", '{"a":', '{"a":"', "[{", '{"a":[', '{"' + "x" * 500])
def test_a_hostile_text_costs_a_bounded_number_of_passes(opening: str) -> None:
    """Nesting far beyond what is tried, and beyond Python's recursion: the answer comes, and it is no."""
    with pytest.raises(NoContentError):
        content_in(opening * (200_000 // len(opening)))


def test_as_many_braces_as_are_tried_may_stand_before_the_content() -> None:
    assert content_in("{x} " * (MOST_CANDIDATES - 1) + TEXT).title == "A title"


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(
    lambda t: bool(t.strip(".… ").strip())
)
contents = st.fixed_dictionaries({"title": words, "description": words, "tags": st.lists(words, max_size=5)})
prose = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), max_size=60)


@given(contents, prose, prose, st.booleans())
def test_any_content_comes_back_from_any_prose_around_it(
    content: dict[str, Any], before: str, after: str, fenced: bool
) -> None:
    text = json.dumps(content, ensure_ascii=fenced, indent=2 if fenced else None)
    text = f"```json\n{text}\n```" if fenced else text

    found = content_in(f"{before}{text}{after}")

    assert found.title == content["title"].strip()
    assert found.description == content["description"].strip()
    assert found.tags == list(dict.fromkeys(tag.strip() for tag in content["tags"]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["output", "message", "content", "text", "choices", "outputs", "generation", "results", "usage", "error"]
bodies = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)


@given(bodies)
def test_no_body_makes_a_line_unreadable(body: Any) -> None:
    result = read_result(line(body))

    assert (result.content is None) == (result.failure is not None)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_line_unreadable(text: bytes) -> None:
    result = read_result(text)

    assert (result.content is None) == (result.failure is not None)
