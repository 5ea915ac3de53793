"""The cost of a target's answers: what they report, or their tokens at a known price, and the price of the calls.

The price of tokens comes from the registry (``prices``), else from ``foundation/models.json`` by the model that the
answer names. A cost that an answer reports itself always counts as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from row_batches.document.plan import Target
from row_batches.rows.records import Usage

if TYPE_CHECKING:
    from foundation.prices import TokenPrices


def token_prices(target: Target, model: str) -> TokenPrices | None:
    """The price of the model's tokens; None if it is not known."""
    from foundation.prices import TokenPrices, model_prices  # noqa: PLC0415 (many targets report no tokens)

    if target.prices is not None:
        return TokenPrices(target.prices.input_usd_per_million_tokens, target.prices.output_usd_per_million_tokens)
    return model_prices().get(model)


def priced(usage: Usage, target: Target) -> Usage:
    """The usage that one answer reports, with the cost of its tokens if it reports no cost and their price is known."""
    costed: Usage = {}
    for model, used in usage.items():
        prices = None if used.get("cost_usd") else token_prices(target, model)
        costed[model] = used
        if prices is not None:
            costed[model] = {**used, "cost_usd": prices.usd(used["input_tokens"], used["output_tokens"])}
    return costed


def model_usd(usage: Usage) -> float:
    """The known cost of the tokens of all models."""
    return sum(used.get("cost_usd", 0) for used in usage.values())


def known_model_usd(target: Target, usage: Usage) -> float | None:
    """The known cost of the tokens; None if nothing about it is known."""
    usd = model_usd(usage)
    return usd if usd or target.prices is not None else None


def row_usd(target: Target, usage: Usage, attempts: int) -> float | None:
    """The known cost of a row's calls and tokens; None if nothing about it is known."""
    tokens = model_usd(usage)
    if not target.has_known_cost and not tokens:
        return None
    return tokens + attempts * (target.cost_per_call_usd or 0)
