"""Queues and topics with a customer managed key require permission for the key, from callers and AWS services.

* https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
* https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import kms, sns, sqs

KEY_ACTIONS = {
    "sqs:SendMessage": ("kms:GenerateDataKey", "kms:Decrypt"),
    "sqs:ReceiveMessage": ("kms:Decrypt",),
    "sns:Publish": ("kms:GenerateDataKey", "kms:Decrypt"),
}


def key_of(arn: str) -> dict[str, Any] | None:
    """The customer managed key of a queue or a topic. Keys that AWS manages need no permission."""
    if ":sqs:" in arn:
        holder = sqs._queue_by_arn(arn)
    elif ":sns:" in arn:
        holder = sns._topic_by_arn_any_scope(arn)
    else:
        return None
    name = (holder or {}).get("attributes", {}).get("KmsMasterKeyId") or ""
    return None if not name or "alias/aws/" in name else kms._resolve_key(name)


def asking_for_the_key(enforce: Callable[..., Any]) -> Callable[..., Any]:
    """Check the caller's permission for the key, after the permission for the queue or topic."""

    def enforced(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        denied = enforce(access_key_id, iam_action, service, region, resource_arn, service_context)
        if denied or iam_action not in KEY_ACTIONS:
            return denied
        key = key_of(resource_arn)
        if key is None:
            return None
        via = {"kms:CallerAccount": responses.get_account_id()}
        for action in KEY_ACTIONS[iam_action]:
            denied = denied or enforce(access_key_id, action, service, region, key["Arn"], via)
        return denied

    return enforced


def lets_use(key: dict[str, Any], service: str, source_arn: str) -> bool:
    """Whether the key's policy lets an AWS service encrypt for a queue or a topic."""
    context = {
        "aws:sourcearn": source_arn,
        "aws:sourceaccount": responses.get_account_id(),
        "kms:calleraccount": responses.get_account_id(),
    }
    for action in KEY_ACTIONS["sqs:SendMessage"]:
        request = iam_evaluator.EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action=action,
            resource_arn=key["Arn"],
            region=responses.get_region(),
            service_context=context,
        )
        if iam_evaluator.evaluate_resource_policy(key.get("Policy"), request, service=service).decision != "Allow":
            return False
    return True


def with_the_key(allows: Callable[[str, str, str, str], bool]) -> Callable[[str, str, str, str], bool]:
    """Whether a service may deliver: the resource's policy and its key's policy must both allow it."""

    def policy_allows(arn: str, service: str, source_arn: str, source_account: str) -> bool:
        if not allows(arn, service, source_arn, source_account):
            return False
        key = key_of(arn)
        return key is None or lets_use(key, service, source_arn)

    return policy_allows


def install() -> None:
    """Check the permission for the key wherever a message is encrypted or decrypted."""
    iam_evaluator.enforce = asking_for_the_key(iam_evaluator.enforce)
    sqs.queue_policy_allows = with_the_key(sqs.queue_policy_allows)
    sns.topic_policy_allows = with_the_key(sns.topic_policy_allows)
