"""The table of AWS's prices."""

from __future__ import annotations

from importlib.resources import files

import orjson

from foundation.prices import PRICES


def test_every_price_has_a_unit_and_its_page_at_aws() -> None:
    table = orjson.loads(files("foundation").joinpath("prices.json").read_bytes())

    assert all(
        price["unit"] and price["source"].startswith("https://aws.amazon.com/") for price in table["prices"].values()
    )
    assert all(price["usd"] > 0 for price in table["prices"].values())


def test_the_table_has_exactly_the_prices_that_costs_are_computed_with() -> None:
    table = orjson.loads(files("foundation").joinpath("prices.json").read_bytes())

    assert PRICES._asdict().keys() == {"as_of", "region", *table["prices"]}
