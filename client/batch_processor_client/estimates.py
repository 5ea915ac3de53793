"""The estimate of a run: a dry run checks its document and file, plans it, and runs no row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_processor_client import executions, runs
from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError

POLL_SECONDS = 1.0
TARGET_PART = "target"


class Estimate(BaseModel):
    """The cost of a run in US dollars: ``best_usd`` if each row succeeds at once, ``worst_usd`` if each takes all
    its time and attempts. ``service_usd`` is the part of ``best_usd`` that is not paid for the target,
    ``target_worst_usd`` the part of ``worst_usd`` that is.

    ``target_included`` is False if the registry has no price of a call: then the figures leave out the target.
    """

    model_config = ConfigDict(frozen=True)

    total_rows: int
    rows_to_run: int
    best_usd: float
    worst_usd: float
    service_usd: float
    target_worst_usd: float
    target_included: bool
    assumptions: list[str]
    warnings: list[str]


def estimate(
    deployment: Deployment,
    document: dict[str, Any],
    name: str,
    csv: Path | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Estimate:
    """Plan a run with a dry run of this ``name``, and wait for it.

    Raises ClientError or InvalidInputError with what is wrong with the document or the file.
    """
    arn = runs.start(deployment, {**document, "dry_run": True}, name, csv)
    states = deployment.client("stepfunctions")
    while (ending := executions.ending_of(executions.describe(states, arn))) is None:
        wait(POLL_SECONDS)
    if ending.document is None:
        raise ClientError(f"No estimate: {ending.error or ending.status}: {ending.cause}")
    planned, costs = ending.document, ending.document["estimate"]
    return Estimate(
        total_rows=planned["total_rows"],
        rows_to_run=planned["rows_to_run"],
        best_usd=costs["total"]["best"],
        worst_usd=costs["total"]["worst"],
        service_usd=sum(part["best"] for name, part in costs["parts"].items() if name != TARGET_PART),
        target_worst_usd=worst_of_target(costs),
        target_included=costs["target_included"],
        assumptions=costs["assumptions"],
        warnings=planned["warnings"],
    )


def worst_of_target(costs: Mapping[str, Any]) -> float:
    """The part of a ``CostEstimate``'s worst case that is paid for the calls of the target; 0 without their price."""
    return float(costs["parts"].get(TARGET_PART, {"worst": 0})["worst"])
