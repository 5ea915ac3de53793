"""AWS's prices: one table, ``prices.json``, with the unit and the source of each price.

They are on-demand prices of one region, without free tiers. Most regions differ by a few percent. Models have their own
table.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import orjson


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars a unit, in ``region``, read on ``as_of``. Each entry of the table has a field."""

    as_of: str
    region: str
    state_transition: float
    lambda_gb_second: float
    lambda_request: float
    s3_put: float
    s3_get: float
    sqs_request: float
    dynamodb_write: float
    dynamodb_read: float
    xray_trace: float

    @classmethod
    def read(cls) -> Prices:
        """Read the table. Raises TypeError when its entries and the fields differ."""
        table = orjson.loads(files("foundation").joinpath("prices.json").read_bytes())
        prices = {name: price["usd"] for name, price in table["prices"].items()}
        return cls(as_of=table["as_of"], region=table["region"], **prices)


PRICES = Prices.read()
