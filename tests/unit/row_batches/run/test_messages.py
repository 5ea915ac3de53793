"""The messages between the state machine and the functions."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from row_batches.run.agent_messages import MapRowsRequest


def test_the_error_of_a_message_that_cannot_be_read_shows_no_cell() -> None:
    given = {"BatchInput": {"plan_key": "k"}, "Items": [{"r": "1", "c1": ["secret"]}], "Child": "c"}

    with pytest.raises(ValidationError) as raised:
        MapRowsRequest.model_validate(given)

    assert "c1" in str(raised.value)
    assert "secret" not in str(raised.value)
