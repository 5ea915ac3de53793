"""Events of executions in a log group (dg/cw-logs.html, dg/cloudwatch-log-level.html)."""

import time
import zlib
from datetime import datetime
from typing import Any

from ministack.services import cloudwatch_logs

from emulator.step_functions.limits import to_json

EXECUTION_DATA = ("input", "inputDetails", "output", "outputDetails", "parameters")
ENDS_OF_EXECUTIONS = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")


class ExecutionLog:
    """The log of one machine's executions, and the events that it includes."""

    def __init__(self, configuration: dict[str, Any], machine_name: str) -> None:
        groups = [
            destination.get("cloudWatchLogsLogGroup", {}).get("logGroupArn", "")
            for destination in configuration.get("destinations", [])
        ]
        self._level = configuration.get("level", "OFF") if groups else "OFF"
        self._with_data = bool(configuration.get("includeExecutionData", False))
        self._group = groups[0].partition(":log-group:")[2].removesuffix(":*") if groups else ""
        self._machine_name = machine_name

    def write(self, execution_arn: str, event: dict[str, Any], redrives: int) -> None:
        """Log an event if the level includes it. A missing group is not an error, because logging is best effort."""
        if not self._includes(event["type"]):
            return
        moment = int(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000)
        details: dict[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
        if not self._with_data:
            details = {key: value for key, value in details.items() if key not in EXECUTION_DATA}
        line = {
            "id": str(event["id"]),
            "type": event["type"],
            "details": details,
            "previous_event_id": str(event["previousEventId"]),
            "event_timestamp": str(moment),
            "execution_arn": execution_arn,
            "redrive_count": str(redrives),
        }
        minute = time.strftime("%Y-%m-%d-%H-%M", time.gmtime(moment / 1000))
        place = {
            "logGroupName": self._group,
            "logStreamName": f"states/{self._machine_name}/{minute}/{zlib.crc32(minute.encode()):08x}",
        }
        events = [{"timestamp": moment, "message": to_json(line)}]
        if cloudwatch_logs._put_log_events({**place, "logEvents": events})[0] != 200:
            cloudwatch_logs._create_log_stream(place)
            cloudwatch_logs._put_log_events({**place, "logEvents": events})

    def _includes(self, kind: str) -> bool:
        if self._level == "ERROR":
            return kind.endswith(("Aborted", "Failed", "TimedOut")) or kind == "FailStateEntered"
        return self._level == "ALL" or (self._level == "FATAL" and kind in ENDS_OF_EXECUTIONS)
