"""Handles the events of ``bedrock_batch_processor``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bedrock_batches.api.admin import creation_answer, invalid_answer
from bedrock_batches.api.once import Sender, create_once
from bedrock_batches.request.job_config import DirectRequest, parse_job_request
from bedrock_batches.request.model_life import check_model_life
from bedrock_batches.submit import names
from bedrock_batches.submit.create_job import CreateServices, create_job
from bedrock_batches.submit.job import new_job
from foundation.errors import InvalidInputError

LOGGER = logging.getLogger("batch_processor.process")

DIRECT = "lambda:Invoke"
"""The caller of a direct invocation, because Lambda does not name one."""


def process(event: Mapping[str, Any], services: CreateServices, *, default_model: str) -> dict[str, Any]:
    """Process ``{"jobId"}`` of a stored job, or ``{"config", "dryRun"}``. Returns the body of the admin API's answer.
    Raises the errors of ``create_job``."""
    if "jobId" in event:
        return creation_answer(create_job(str(event["jobId"]), services)).body
    try:
        job_id = _new_job(event, services, default_model)
    except InvalidInputError as error:
        return invalid_answer(error.problems).body
    return creation_answer(create_job(job_id, services)).body


def _new_job(event: Mapping[str, Any], services: CreateServices, default_model: str) -> str:
    """Write the item of the job that an event requests. Returns its id. Raises InvalidInputError."""
    asked = parse_job_request(
        DirectRequest,
        dict(event),
        models=services.models,
        default_model=default_model,
        agencies=services.lake.agencies,
    )
    config = asked.config.document()
    now = names.moment_at(services.clock.now_ms())
    model_id = str(asked.config.batch.model_id)
    for warning in check_model_life("config.batch.modelId", model_id, services.models, now.date()):
        LOGGER.warning("the model ends soon", extra={"why": warning})
    job_id = names.new_job_id(now, dry_run=asked.dry_run)
    job = new_job(job_id, now, config, dry_run=asked.dry_run)
    return create_once(job, {"config": config}, Sender(DIRECT), services, force=asked.force)
