"""What the demo compares and shows."""

from __future__ import annotations

from typing import Any

import pytest

from tools.demo import DEMONSTRATED, differences


def test_an_output_is_compared_with_the_expected_one_without_its_metadata() -> None:
    expected = "id,category\n1,A\n2,B\n"
    assert differences(expected, "id,category,_timestamp\n1,A,now\n2,B,then\n") == []
    assert differences(expected, "id,category\n1,A\n2,C\n") == ["row 2, column category: 'C' instead of 'B'"]
    assert differences(expected, "id,category\n1,A\n") == ["1 rows instead of 2"]


@pytest.mark.parametrize("example", DEMONSTRATED, ids=lambda example: str(example.name))
def test_the_demonstrated_columns_are_those_of_the_example(example: Any) -> None:
    header = (example.folder / "expected.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert set(example.shown) <= {*header, "_status"}
