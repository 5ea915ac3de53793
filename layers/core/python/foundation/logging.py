"""JSON log lines on standard output, with the execution and the row that they belong to.

All modules log through the standard library. Powertools' formatter writes the lines; it reads no environment variables.
The message of a line is constant; values are keys. Cell values appear at DEBUG only. Loggers of other packages,
including the SDK's, are not changed.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

LOGGER = logging.getLogger("batch_processor")
SERIALIZER = partial(json.dumps, default=str, separators=(",", ":"))
"""Escapes what is not ASCII. Powertools' own does not, and a line with half of a surrogate pair cannot be written."""


def start_invocation(service: str, level: str, **keys: Any) -> None:
    """Set the level and the keys of every line of this invocation; called once at its start.

    When an execution's plan is opened, its own level (``execution_config.log_level``, ``debug``) replaces this one.
    """
    handler = logging.StreamHandler(sys.stdout)
    formatter = LambdaPowertoolsFormatter(
        json_serializer=SERIALIZER, utc=True, use_rfc3339=True, service=service, **keys
    )
    handler.setFormatter(formatter)
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(level)
