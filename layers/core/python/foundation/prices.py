"""What AWS charges: one table, ``prices.json``, with the unit and the source of each price.

On-demand prices of one Region, without free tiers; most Regions are within a few percent. Models have their own table.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import orjson


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a unit, in ``region``, as they were read on ``as_of``. A field for each entry of the table."""

    as_of: str
    region: str
    state_transition: float
    lambda_gb_second: float
    lambda_request: float
    s3_put: float
    s3_get: float
    sqs_request: float
    dynamodb_write: float

    @classmethod
    def read(cls) -> Prices:
        """The table. Raises TypeError when it and the fields are not the same."""
        table = orjson.loads(files("foundation").joinpath("prices.json").read_bytes())
        prices = {name: price["usd"] for name, price in table["prices"].items()}
        return cls(as_of=table["as_of"], region=table["region"], **prices)


PRICES = Prices.read()
