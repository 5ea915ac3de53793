"""AWS's prices. ``prices.json`` has the unit and the source of each price, ``models.json`` has those of models' tokens.

They are on-demand prices of one region, without free tiers. Most regions differ by a few percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import orjson

from foundation.data_files import read_data_file


class Prices(NamedTuple):
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
        table = orjson.loads(read_data_file("foundation", "prices.json"))
        prices = {name: price["usd"] for name, price in table["prices"].items()}
        return cls(as_of=table["as_of"], region=table["region"], **prices)


PRICES = Prices.read()


class TokenPrices(NamedTuple):
    """The price of tokens, in US dollars for a million."""

    input_usd_per_million: float
    output_usd_per_million: float

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        return (input_tokens * self.input_usd_per_million + output_tokens * self.output_usd_per_million) / 1_000_000


@cache
def model_prices() -> Mapping[str, TokenPrices]:
    """The on-demand prices of models, by model id or inference profile id, from ``models.json``."""
    table = orjson.loads(read_data_file("foundation", "models.json"))
    return {
        model: TokenPrices(1000 * entry["input_usd_per_1k_tokens"], 1000 * entry["output_usd_per_1k_tokens"])
        for model, entry in table["models"].items()
    }
