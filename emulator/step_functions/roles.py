"""Checks the permissions of a state machine's or batch inference job's role before each of its actions.

https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
"""

import contextvars
import threading
import time

from ministack import app
from ministack.core import iam_evaluator, lambda_runtime, responses

CACHE_SECONDS = 1.0
CACHE_ENTRIES = 10_000


class Role:
    """The role of one resource."""

    def __init__(self, role_arn: str, resource_arn: str) -> None:
        self.arn = role_arn
        self._resource_arn = resource_arn

    def denial(self, action: str, resource: str) -> str | None:
        """AWS's message, which names `action` and `resource`, if the role may not do it; None if it may."""
        if not app.AUTH:
            return None
        key = (self.arn, action, resource)
        with _lock:
            known = _answers.get(key)
            if known is not None and known[0] > time.monotonic():
                return known[1]
        answer = contextvars.Context().run(self._ask, action, resource)
        with _lock:
            if len(_answers) >= CACHE_ENTRIES:
                _answers.clear()
            _answers[key] = (time.monotonic() + CACHE_SECONDS, answer)
        return answer

    def _ask(self, action: str, resource: str) -> str | None:
        _arn, _partition, _service, region, account, resource_id = self._resource_arn.split(":", 5)
        name = resource_id.replace("/", ":").rpartition(":")[2]
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        session = lambda_runtime.execution_credentials(
            # MiniStack keeps role sessions for functions. This one represents the resource.
            {
                "Role": self.arn,
                "FunctionArn": f"arn:aws:lambda:{region}:{account}:function:of-{name}",
                "FunctionName": name,
            }
        )
        denied = iam_evaluator.enforce(
            session["AWS_ACCESS_KEY_ID"], action, action.partition(":")[0], region, resource_arn=resource
        )
        if denied is None:
            return None
        role_name = self.arn.rpartition("/")[2]
        principal = f"arn:aws:sts::{account}:assumed-role/{role_name}/{name[:64]}"
        explicit = isinstance(denied, iam_evaluator.EvalResult) and denied.decision == "Deny"
        reason = (
            "with an explicit deny in an identity-based policy"
            if explicit
            else f"because no identity-based policy allows the {action} action"
        )
        return f"User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"


_answers: dict[tuple[str, str, str], tuple[float, str | None]] = {}
_lock = threading.Lock()
