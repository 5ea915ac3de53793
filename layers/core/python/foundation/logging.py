"""JSON log lines on standard output, one a line, with the execution and the row they belong to.

The layers below log through the standard library; Powertools' formatter writes their lines, and reads no environment.
The message of a line is constant; values are keys. Cell values appear at DEBUG only. Loggers of other packages, the
SDK's among them, are left as they are.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

LOGGER = logging.getLogger("batch_processor")


def start_invocation(service: str, level: str, **keys: Any) -> None:
    """Set the level and the keys of every line of this invocation; called once at its start.

    An execution's own level (``execution_config.log_level``, ``debug``) takes its place when its plan is opened.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LambdaPowertoolsFormatter(utc=True, use_rfc3339=True, service=service, **keys))
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(level)
