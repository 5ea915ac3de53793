"""Publishes a job's state changes to EventBridge.

https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge-how-it-works.html
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ministack.services import eventbridge

logger = logging.getLogger(__name__)

SOURCE = "aws.bedrock"
DETAIL_TYPE = "Batch Inference Job State Change"


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def publish(record: dict[str, Any]) -> None:
    """Send the job's status to the default bus.

    `creationTime` has the form of the documented sample ("Aug 28, 2024, 10:47:53 PM"); the envelope's `time` is
    EventBridge's own, although the sample shows another form there.
    """
    created = datetime.fromisoformat(record["submitTime"])
    account = record["jobArn"].split(":")[4]
    detail = {
        "version": "0.0",
        "accountId": account,
        "batchJobName": record["jobName"],
        "batchJobArn": record["jobArn"],
        "batchModelId": record["modelId"],
        "status": record["status"],
        "failureMessage": record.get("message", ""),
        "creationTime": f"{created:%b} {created.day}, {created:%Y}, {created:%I}:{created:%M:%S %p}",
    }
    entry = {
        "Source": SOURCE,
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps(detail),
        "Resources": [record["jobArn"]],
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        logger.exception("The state change of %s was not published", record["jobArn"])
