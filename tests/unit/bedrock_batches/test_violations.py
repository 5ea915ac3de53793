"""What is particular to violations hangs together: answer, item and table name the same content."""

from __future__ import annotations

from bedrock_batches.violations import (
    COLUMNS,
    CONTENT,
    CONTENT_COLUMN,
    NOT_IN_PROMPT,
    PROMPT_CHARACTERS,
    ContentAttributes,
    GeneratedContent,
    ViolationRecord,
)


def test_each_field_of_the_answer_has_its_attribute_and_its_column() -> None:
    assert [field.name for field in CONTENT] == [*GeneratedContent.model_fields]
    assert {field.attribute for field in CONTENT} <= set(ContentAttributes.model_fields)
    assert {field.column for field in CONTENT} <= {column.name for column in COLUMNS if column.generated}
    assert CONTENT_COLUMN in {field.column for field in CONTENT}


def test_a_text_is_read_at_least_as_far_as_the_prompt_shows_it() -> None:
    read = {column.name: column.read_characters for column in COLUMNS}
    assert all(read[name] >= shown for name, shown in PROMPT_CHARACTERS.items())
    assert set(PROMPT_CHARACTERS) | NOT_IN_PROMPT <= set(ViolationRecord._fields)
