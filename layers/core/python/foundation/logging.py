"""JSON log lines on standard output, with the execution and the row that they belong to.

All modules log through the standard library. The message of a line is constant; values are keys. Cell values appear at
DEBUG only. Loggers of other packages, including the SDK's, are not changed.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("batch_processor")
STANDARD = logging.makeLogRecord({}).__dict__.keys()
"""The attributes that every record has. A record's others are its ``extra``."""


class JsonFormatter(logging.Formatter):
    """Writes a record as a line of JSON with these keys. They have the names of Powertools for AWS Lambda.

    Powertools' own formatter is not used: it is imported together with Powertools' logger, metrics and tracer.
    """

    def __init__(self, keys: dict[str, Any]) -> None:
        super().__init__()
        self._keys = {name: value for name, value in keys.items() if value is not None}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": record.levelname,
            "location": f"{record.funcName}:{record.lineno}",
            "message": record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            **self._keys,
            **{name: value for name, value in record.__dict__.items() if name not in STANDARD},
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
            line["exception_name"] = record.exc_info[0].__name__
        return json.dumps(line, default=str, separators=(",", ":"))


def start_invocation(service: str, level: str, **keys: Any) -> None:
    """Set the level and the keys of every line of this invocation; called once at its start.

    When an execution's plan is opened, its own level (``execution_config.log_level``, ``debug``) replaces this one.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter({"service": service, **keys}))
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(level)
