"""The cost of a batch before it runs.

A prompt's tokens are estimated as a quarter of its bytes in UTF-8: English has about four characters a token, other
scripts fewer. The answer counts with its full ``maxTokens``, so an estimate is an upper bound unless a prompt has more
tokens than that quarter. Batch inference costs half of on-demand inference (https://aws.amazon.com/bedrock/pricing/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any

from bedrock_batches.request.models import Model

BYTES_PER_TOKEN = 4
BATCH_SHARE = Decimal("0.5")
_MICRO = Decimal("0.000001")


def tokens_of(text: str) -> int:
    """Estimated tokens of a text, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class Rate:
    """Price of one record in USD, by tokens or flat. ``max_tokens`` is the limit of the answer."""

    input_usd_per_1k: Decimal
    output_usd_per_1k: Decimal
    max_tokens: int
    flat_tokens: int | None = None

    def tokens(self, input_tokens: int) -> int:
        return input_tokens + self.max_tokens if self.flat_tokens is None else self.flat_tokens

    def usd(self, input_tokens: int) -> Decimal:
        if self.flat_tokens is not None:
            return self.flat_tokens * self.input_usd_per_1k / 1000
        return (input_tokens * self.input_usd_per_1k + self.max_tokens * self.output_usd_per_1k) / 1000

    def actual_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Cost of the used tokens."""
        return (input_tokens * self.input_usd_per_1k + output_tokens * self.output_usd_per_1k) / 1000

    def document(self) -> dict[str, Any]:
        """The JSON in the job's item. ``Rate.of_document`` reads it."""
        return {
            "inputUSDPer1kTokens": str(self.input_usd_per_1k),
            "outputUSDPer1kTokens": str(self.output_usd_per_1k),
            "maxTokens": self.max_tokens,
            **({} if self.flat_tokens is None else {"flatTokens": self.flat_tokens}),
        }

    @staticmethod
    def of_document(document: Mapping[str, Any]) -> Rate:
        flat = document.get("flatTokens")
        return Rate(
            Decimal(str(document["inputUSDPer1kTokens"])),
            Decimal(str(document["outputUSDPer1kTokens"])),
            int(document["maxTokens"]),
            None if flat is None else int(flat),
        )


def model_rate(model: Model, max_tokens: int, *, on_demand: bool) -> Rate:
    share = Decimal(1) if on_demand else BATCH_SHARE
    return Rate(model.input_usd_per_1k_tokens * share, model.output_usd_per_1k_tokens * share, max_tokens)


def flat_rate(tokens_per_record: int, usd_per_1k_tokens: float, *, on_demand: bool) -> Rate:
    """A fixed number of tokens a record. Its price is for batch inference; on demand costs twice that."""
    price = Decimal(str(usd_per_1k_tokens)) / (BATCH_SHARE if on_demand else 1)
    return Rate(price, price, tokens_per_record, flat_tokens=tokens_per_record)


@dataclass
class Spend:
    """Adds up records in priority order while their cost is within ``most_usd``."""

    rate: Rate
    most_usd: Decimal
    count: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)

    def take(self, input_tokens: int) -> bool:
        """Whether one more record with so many input tokens fits. If it does, it is counted."""
        usd = self.usd + self.rate.usd(input_tokens)
        if _rounded(usd) > self.most_usd:
            return False
        self.usd = usd
        self.tokens += self.rate.tokens(input_tokens)
        self.count += 1
        return True

    def estimate(self) -> dict[str, Any]:
        """``{violationCount, totalTokens, costUSD, costPerViolation}``; USD rounded up to the sixth decimal."""
        each = self.usd / self.count if self.count else Decimal(0)
        return {
            "violationCount": self.count,
            "totalTokens": self.tokens,
            "costUSD": float(_rounded(self.usd)),
            "costPerViolation": float(_rounded(each)),
        }


def _rounded(usd: Decimal) -> Decimal:
    return usd.quantize(_MICRO, ROUND_UP)
