"""JSON log lines on standard output, one a line, with the execution and the row they belong to.

Powertools' Logger gives the same lines; its import costs more than half of what a function's cold start may take, so
these few lines stand in for it and read the same settings. The message of a line is constant; values are keys.
Cell values appear at DEBUG only.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

LOGGER = logging.getLogger("batch_processor")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, message, the keys of this invocation, the record's own keys."""

    def __init__(self, keys: dict[str, Any]) -> None:
        super().__init__()
        self._keys = keys

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **self._keys,
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def start_invocation(service: str, level: str, **keys: Any) -> None:
    """Set the level and the keys of every line of this invocation; called once at its start.

    An execution's own level (``execution_config.log_level``, ``debug``) takes its place when its plan is opened.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter({"service": service, **keys}))
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(level)
