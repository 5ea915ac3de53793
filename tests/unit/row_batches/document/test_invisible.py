"""Names that look alike and differ in characters that nobody sees."""

from __future__ import annotations

import pytest

from row_batches.document.header import problems_against_header
from row_batches.document.input_document import parse_batch_config


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("first\u00a0name", "U+00A0 NO-BREAK SPACE"),
        ("\ufefffirst name", "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("first\u200b name", "U+200B ZERO WIDTH SPACE"),
        ("first name ", "U+0020 SPACE at an end"),
        ("first\nname", "U+000A CONTROL CHARACTER"),
    ],
)
def test_an_invisible_character_in_the_header_is_named_when_the_column_is_not_found(header: str, said: str) -> None:
    config = parse_batch_config(
        {
            "csv_s3_uri": "s3://bucket/key.csv",
            "target": {"type": "tool", "name": "echo"},
            "input_mapping": {"column_mappings": {"first name": "text"}},
        }
    )

    (problem,) = problems_against_header(config, ["id", header])

    assert said in problem.fix
    assert problems_against_header(config, ["id", "first name"]) == []
