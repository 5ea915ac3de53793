"""The input document of a run, and the run's name."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from batch_processor_client.errors import ClientError
from batch_processor_client.files import readable_file
from foundation.json_text import parse_json
from row_batches.document.batch_config import EXECUTION_NAME
from row_batches.document.input_document import with_one_name

MAX_NAME_CHARACTERS = 80
"""https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html, ``name``."""
LEAST_COST_USD = 1e-6
"""``stop_after.cost_usd`` is above 0."""
REFUSED_SIGNS = '< > { } [ ] ? * " # % \\ ^ | ~ ` $ & , ; : /'


def read_document(path: Path) -> dict[str, Any]:
    """The input document of a file. Raises ClientError when it is not a JSON object."""
    try:
        document = parse_json(readable_file(path).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as broken:
        raise ClientError(f"{path} is not JSON: {broken}.") from None
    except ValueError as broken:
        raise ClientError(f"{path} is {broken}.") from None
    if not isinstance(document, dict):
        raise ClientError(f"{path} must hold one JSON object: the input document.")
    return document


def subject_of(path: Path) -> str:
    """The subject of a document: its file's name, or its folder's if the file's name is a generic one."""
    return path.stem if path.stem not in ("batch", "input") else path.resolve().parent.name


def execution_name(subject: str, now: datetime) -> str:
    """A name for an execution, from its subject and the time. It has letters, digits, ``-`` and ``_`` only."""
    suffix = now.strftime("-%Y%m%dT%H%M%S")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", subject).strip("-")[: MAX_NAME_CHARACTERS - len(suffix)] + suffix


def check_name(name: str) -> None:
    """Raise ClientError for a name that Step Functions does not accept (batch_config.EXECUTION_NAME)."""
    if re.fullmatch(EXECUTION_NAME, name) is None:
        raise ClientError(
            f"No execution can be named {name!r}. A name has 1 to 80 characters, no white space, no control character "
            f"and none of {REFUSED_SIGNS}. Choose another NAME: letters, digits, - and _."
        )


def with_cost_limit(document: dict[str, Any], most_usd: float) -> dict[str, Any]:
    """The document whose run starts no further row when its target has cost ``most_usd``, or the document's own limit
    if that is lower. A document with mistakes in these fields stays as it is, so that they are named."""
    execution = document.get("execution_config") or {}
    limits = (execution.get("stop_after") or {}) if isinstance(execution, dict) else None
    own = limits.get("cost_usd", most_usd) if isinstance(limits, dict) else None
    if not isinstance(execution, dict) or not isinstance(limits, dict) or not isinstance(own, int | float):
        return document
    lower = max(min(own, most_usd), LEAST_COST_USD)
    return {**document, "execution_config": {**execution, "stop_after": {**limits, "cost_usd": lower}}}


def with_input_bucket(document: dict[str, Any], input_bucket: str) -> dict[str, Any]:
    """The document with the deployment's bucket in place of INPUT_BUCKET in its address."""
    document = with_one_name(document)
    uri = document.get("csv_s3_uri")
    if not isinstance(uri, str):
        return document
    return {**document, "csv_s3_uri": uri.replace("s3://INPUT_BUCKET/", f"s3://{input_bucket}/", 1)}
