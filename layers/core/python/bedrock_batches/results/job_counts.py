"""Counts the records, tokens and cost of a job so far from its claims and parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bedrock_batches.results.ports import Claim, newest_versions, places, total
from bedrock_batches.submit.job import Job, Part, Stats, begins_of


def with_counts(job: Job, parts: Sequence[Part], claims: Sequence[Claim]) -> Job:
    """The job with its records, tokens and cost, from the claims and Bedrock's manifests."""
    counts = total(claims, begins_of(parts))
    input_tokens, output_tokens = _tokens(parts, claims)
    records = job.violation_count or counts.processed + counts.errors
    # Lines that name no record of the job count as answers of records without an answer, up to their number.
    errors = min(counts.errors, max(0, records - counts.processed))
    cost = None if job.price is None else float(round(job.price.actual_usd(input_tokens, output_tokens), 6))
    return replace(
        job,
        stats=Stats(counts.processed, errors, records),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        actual_cost_usd=job.actual_cost_usd if cost is None else cost,
    )


def _tokens(parts: Sequence[Part], claims: Sequence[Claim]) -> tuple[int, int]:
    """Token counts from the manifests, or from the answers of parts without a manifest (still running, or on demand).

    An object that shares records with another one, or with a manifest, counts with the share of its other records.
    """
    begins, seen = begins_of(parts), 0
    told = {part.number: part for part in parts if part.input_tokens is not None}
    input_tokens = sum(part.input_tokens or 0 for part in told.values())
    output_tokens = sum(part.output_tokens or 0 for part in told.values())
    for number, part in told.items():
        seen |= ((1 << part.record_count) - 1) << begins[number]
    if told and len(told) == len(parts):
        return input_tokens, output_tokens
    for claim in sorted(newest_versions(claims), key=lambda claim: (claim.last_modified, claim.key)):
        if claim.part in told:
            continue
        answered = places(claim, claim.answered, begins)
        new, of = ((answered & ~seen).bit_count(), answered.bit_count()) if answered else (1, 1)
        input_tokens += claim.counts.input_tokens * new // of
        output_tokens += claim.counts.output_tokens * new // of
        seen |= answered
    return input_tokens, output_tokens
