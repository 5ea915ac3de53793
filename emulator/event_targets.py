"""EventBridge and Scheduler deliver only with permission, and keep events that they could not deliver.

* Permissions: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html and
  https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-identity-based.html
* Dead letters: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
* Lambda targets are invoked asynchronously: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html
* Scheduler's role: https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import eventbridge, iam, lambda_svc, s3, scheduler, sns, sqs

logger = logging.getLogger(__name__)

RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)(s?)\)")
UNIT_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400}
TICK_SECONDS = 1.0
"""How often rules and schedules are checked."""

TARGET_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "events": "events:PutEvents",
}


def service_context(principal: str, action: str, resource: str, source_arn: str) -> Any:
    """The request of an AWS service on behalf of a resource of this account."""
    return iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": responses.get_account_id()},
    )


def role_trusts(role_arn: str, service: str, source_arn: str) -> bool:
    """Whether the role exists and lets the service assume it for the resource."""
    role = iam._roles.get_scoped(responses.get_account_id(), None, role_arn.rsplit("/", 1)[-1])
    if role is None:
        return False
    trust = role.get("AssumeRolePolicyDocument")
    trust = json.loads(trust) if isinstance(trust, str) else trust
    statements = trust.get("Statement", [])
    trusting = {
        "Statement": [
            {**statement, "Resource": "*"}
            for statement in ([statements] if isinstance(statements, dict) else statements)
        ]
    }
    assumed = service_context("*", "sts:AssumeRole", role_arn, source_arn)
    return bool(iam_evaluator.evaluate_resource_policy(trusting, assumed, service=service).decision == "Allow")


def role_allows(role_arn: str, service: str, action: str, resource: str, source_arn: str) -> bool:
    """Whether the role trusts the service and grants the action."""
    if not role_trusts(role_arn, service, source_arn):
        return False
    policies = iam_evaluator._gather_role_policies(role_arn.rsplit("/", 1)[-1], responses.get_account_id())
    return bool(
        iam_evaluator.evaluate(service_context(role_arn, action, resource, source_arn), policies).decision == "Allow"
    )


def function_allows(function_arn: str, service: str, source_arn: str) -> bool:
    """Whether the function's own policy lets the service invoke it."""
    found = lambda_svc.function_policy_for_arn(function_arn)
    if found is None:
        return False
    context = service_context("*", "lambda:InvokeFunction", function_arn, source_arn)
    return bool(iam_evaluator.evaluate_resource_policy(found[0], context, service=service).decision == "Allow")


def may_deliver(target: dict[str, Any], source_arn: str, service: str) -> bool:
    """Whether the service may call the target: by its role, or by the target's own policy."""
    arn, account = target.get("Arn", ""), responses.get_account_id()
    kind = parse_arn(arn).service
    if kind not in TARGET_ACTIONS:
        return True
    if target.get("RoleArn"):
        return role_allows(target["RoleArn"], service, TARGET_ACTIONS[kind], arn, source_arn)
    if kind == "lambda":
        return function_allows(arn, service, source_arn)
    if kind == "sqs":
        return bool(sqs.queue_policy_allows(arn, service, source_arn, account))
    if kind == "sns":
        return bool(sns.topic_policy_allows(arn, service, source_arn, account))
    return bool(kind == "events")


def source_of(rule: dict[str, Any]) -> tuple[str, str]:
    """The ARN and the service principal of the rule or schedule that caused the delivery."""
    arn = rule.get("Arn") or ""
    return arn, "scheduler.amazonaws.com" if ":scheduler:" in arn else "events.amazonaws.com"


def keep_undelivered(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], reason: str) -> None:
    """Send the event to the target's dead-letter queue, with the attributes that say why."""
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    source_arn, service = source_of(rule)
    logger.warning("%s was not delivered to %s: %s", source_arn, target.get("Arn"), reason)
    if not queue_arn or not may_keep(queue_arn, target.get("RoleArn", ""), source_arn, service):
        return
    attributes = {
        "RULE_ARN": source_arn,
        "TARGET_ARN": target.get("Arn", ""),
        "ERROR_CODE": "NO_PERMISSIONS",
        "ERROR_MESSAGE": reason,
    }
    body = target.get("Input") or json.dumps(eventbridge._pattern_event_view(event).event_with_detail())
    put_message(queue_arn, body, attributes)


def may_keep(queue_arn: str, role_arn: str, source_arn: str, service: str) -> bool:
    """Whether the dead-letter queue accepts the rule, or the schedule's role can write to it.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
    """
    if service == "scheduler.amazonaws.com":
        return role_allows(role_arn, service, "sqs:SendMessage", queue_arn, source_arn)
    return bool(sqs.queue_policy_allows(queue_arn, service, source_arn, responses.get_account_id()))


def put_message(queue_arn: str, body: str, attributes: dict[str, str]) -> None:
    queue, now = sqs._queue_by_arn(queue_arn), time.time()
    if queue is None:
        return
    message = {
        "id": responses.new_uuid(),
        "body": body,
        "md5_body": responses.md5_hash(body.encode()),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now + sqs.queue_delay(queue),
        "receive_count": 0,
        "attributes": {},
        "message_attributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
        "sys": {"SenderId": responses.get_account_id(), "SentTimestamp": str(int(now * 1000))},
    }
    queue["messages"].append(message)
    sqs._ensure_msg_fields(message)


def permitted(invoke: Callable[..., None]) -> Callable[..., None]:
    """Deliver if the target allows it, otherwise to the dead-letter queue."""

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        source_arn, service = source_of(rule)
        try:
            allowed = may_deliver(target, source_arn, service)
        except ArnParseError:
            allowed = True
        if allowed:
            invoke(target, event, rule, view)
        else:
            keep_undelivered(target, event, rule, f"{service} is not authorized to call the target")

    return invoke_target


def invoke_asynchronously(arn: str, payload: str) -> None:
    """Queue the event for the function, with Lambda's own retries and failure destination."""
    func, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not func or not config:
        logger.warning("The function %s of a target does not exist", name)
        return
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(func, config), json.loads(payload))


def checked_failure_destination(route: Callable[..., None]) -> Callable[..., None]:
    """A failure destination is written with the function's own role.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """

    def route_async_failure(target_arn: str, func_name: str, event: Any, result: dict[str, Any]) -> None:
        config = lambda_svc._functions.get(func_name, {}).get("config", {})
        kind = target_arn.split(":")[2] if target_arn.count(":") > 4 else ""
        policies = iam_evaluator._gather_role_policies(
            config.get("Role", "").rsplit("/", 1)[-1], responses.get_account_id()
        )
        context = service_context(config.get("Role", ""), TARGET_ACTIONS.get(kind, ""), target_arn, "")
        if kind in TARGET_ACTIONS and iam_evaluator.evaluate(context, policies).decision != "Allow":
            logger.warning("The role of %s may not write to its failure destination %s", func_name, target_arn)
            return
        route(target_arn, func_name, event, result)

    return route_async_failure


def overlapping(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether an event on one object could belong to both configurations.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    stems = [[event.removesuffix("*") for event in config["events"]] for config in (one, other)]
    prefixes = [config["filter_prefix"] or "" for config in (one, other)]
    suffixes = [config["filter_suffix"] or "" for config in (one, other)]
    return (
        any(first.startswith(second) or second.startswith(first) for first, second in itertools.product(*stems))
        and (prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0]))
        and (suffixes[0].endswith(suffixes[1]) or suffixes[1].endswith(suffixes[0]))
    )


def checked_notifications(validate: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse notifications that overlap, and a notification to a function that does not allow S3 to invoke it.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
    """

    def validate_notification_configs(
        configs: list[dict[str, Any]],
        bucket_region: str,
        bucket_name: str = "",
        skip_destination_validation: bool = False,
    ) -> Any:
        refused = validate(configs, bucket_region, bucket_name, skip_destination_validation)
        if refused:
            return refused
        if any(overlapping(one, other) for one, other in itertools.combinations(configs, 2)):
            return s3._invalid_notification_config(
                "Configurations overlap. Configurations on the same bucket cannot share a common event type."
            )
        if skip_destination_validation:
            return None
        source_arn = f"arn:aws:s3:::{bucket_name}"
        functions = [config["arn"] for config in configs if ":function:" in config["arn"]]
        closed = [arn for arn in functions if not function_allows(arn, "s3.amazonaws.com", source_arn)]
        if closed:
            return s3._invalid_notification_config(
                "Unable to validate the following destination configurations: " + ", ".join(closed)
            )
        return None

    return validate_notification_configs


def seconds_of_rate(expression: str) -> float | None:
    """The interval of a rate expression, scaled by EVENTS_RATE_SCALE; None where EventBridge refuses it.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
    """
    found = RATE.fullmatch(expression)
    if found is None or (int(found.group(1)) == 1) is bool(found.group(3)):
        return None
    return int(found.group(1)) * UNIT_SECONDS[found.group(2)] * float(os.environ.get("EVENTS_RATE_SCALE", "1"))


def checked_expression(validate: Callable[[str], bool]) -> Callable[[str], bool]:
    """Refuse rates that EventBridge refuses, such as `rate(1 minutes)`."""
    return lambda expression: (
        seconds_of_rate(expression) is not None if expression.startswith("rate(") else validate(expression)
    )


def install() -> None:
    """Check the permissions of every delivery's target."""
    eventbridge._parse_rate_seconds = seconds_of_rate
    eventbridge._validate_schedule_expression = checked_expression(eventbridge._validate_schedule_expression)
    eventbridge._SCHEDULER_TICK_INTERVAL = scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    eventbridge._invoke_target = permitted(eventbridge._invoke_target)
    eventbridge._dispatch_to_lambda = invoke_asynchronously
    lambda_svc._route_async_failure = checked_failure_destination(lambda_svc._route_async_failure)
    s3._validate_notification_configs = checked_notifications(s3._validate_notification_configs)
