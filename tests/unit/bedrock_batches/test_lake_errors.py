"""Errors of DuckDB in the words of this product, without values of rows."""

from __future__ import annotations

import traceback

import duckdb
import pytest

from bedrock_batches.lake.duckdb_ import LakeLocation, translated
from foundation.errors import PermanentError

LOCATION = LakeLocation(
    "arn:aws:s3tables:us-east-1:000000000000:bucket/lake", "silver", ("osha",), "https://e", "https://s"
)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT CAST('secret cell' AS INTEGER)", "Conversion Error: Could not convert string … to INT32"),
        ("SELECT CAST('the secret' AS DATE)", "Conversion Error: invalid date field format: …"),
        ("SELECT strptime('secret', '%Y')", "Invalid Input Error: Could not parse string …"),
        ("SELECT CAST(4711 AS TINYINT)", "Conversion Error: Type INT32 with value … can't be cast"),
    ],
)
def test_an_error_of_a_value_does_not_show_it(query: str, kind: str) -> None:
    with pytest.raises(PermanentError) as raised, translated(LOCATION):
        duckdb.sql(query).fetchall()

    logged = "".join(traceback.format_exception(raised.value)).partition("PermanentError: ")[2]
    assert kind in logged
    assert "secret" not in logged
    assert "4711" not in logged
