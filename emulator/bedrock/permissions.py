"""Checks the permissions of Bedrock's callers.

* Actions and resources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
* A job is created on the model and on `model-invocation-job/*`, with iam:PassRole on its role:
  https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-prereq.html
* Converse is authorised as bedrock:InvokeModel:
  https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
* Inference profiles: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.core import iam_actions, iam_evaluator, responses, router

Answer = tuple[int, dict[str, str], bytes]

RUNTIME_ACTIONS = {
    "bedrock:Converse": "bedrock:InvokeModel",
    "bedrock:ConverseStream": "bedrock:InvokeModelWithResponseStream",
}
PROFILE = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.(?=[a-z0-9-]+\.)")
JOB_PATH = re.compile(r"/model-invocation-job/(.+?)(?:/stop)?")
MODEL_PATH = re.compile(r"/model/(.+)/[a-z-]+")


def model_arn(model_id: str, region: str, account: str) -> str:
    """The ARN of a foundation model or an inference profile with this id."""
    if model_id.startswith("arn:"):
        return model_id
    if PROFILE.match(model_id):
        return f"arn:aws:bedrock:{region}:{account}:inference-profile/{model_id}"
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def base_model(model_id: str) -> str:
    """The id of the foundation model behind an id, an inference profile or an ARN."""
    return PROFILE.sub("", model_id.rpartition("/")[2], count=1)


def behind_profile(arn: str) -> list[str]:
    """The foundation models that an inference profile invokes; [] for a model."""
    if ":inference-profile/" not in arn:
        return []
    return [f"arn:aws:bedrock:{arn.split(':')[3]}::foundation-model/{base_model(arn)}"]


def denial(headers: dict[str, str], *checks: tuple[str, str]) -> Answer | None:
    """The refusal of the first check (an action and a resource) that fails for the caller; None if all pass."""
    if not app.AUTH:
        return None
    access_key = router.extract_access_key_id(headers, {})
    for action, resource in checks:
        context = {"iam:PassedToService": "bedrock.amazonaws.com"} if action == "iam:PassRole" else {}
        denied = iam_evaluator.enforce(
            access_key, action, action.partition(":")[0], responses.get_region(), resource, context
        )
        if denied is not None and not isinstance(denied, iam_evaluator.AuthError):
            refusal: Answer = iam_actions.access_denied_response(
                "bedrock",
                action,
                denied.principal_arn,
                responses.new_uuid(),
                headers=headers,
                resource_arn=resource,
                explicit_deny=denied.decision == "Deny",
                resource_policy_arn=denied.resource_policy_arn,
            )
            return refusal
    return None


def creation_denial(headers: dict[str, str], role_arn: str) -> Answer | None:
    """The refusal of a caller who may not create jobs or may not pass the job's role."""
    scope = f"{responses.get_region()}:{responses.get_account_id()}"
    return denial(
        headers,
        ("bedrock:CreateModelInvocationJob", f"arn:aws:bedrock:{scope}:model-invocation-job/*"),
        ("iam:PassRole", role_arn),
    )


def invocation_denial(headers: dict[str, str], model_id: str) -> Answer | None:
    """The refusal of a caller who may use an inference profile, but not the models behind it."""
    arn = model_arn(model_id, responses.get_region(), responses.get_account_id())
    return denial(headers, *(("bedrock:InvokeModel", model) for model in behind_profile(arn)))


def runtime_actions(extract: Callable[..., str | None]) -> Callable[..., str | None]:
    def extract_iam_action(service: str, *arguments: Any, **options: Any) -> str | None:
        action = extract(service, *arguments, **options)
        return RUNTIME_ACTIONS.get(action, action) if action else action

    return extract_iam_action


def job_and_model_arns(extract: Callable[..., str]) -> Callable[..., str]:
    """The resource of a request: its job or its model."""

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        region: str,
        account_id: str,
    ) -> str:
        if service == "bedrock" and path == "/model-invocation-job":
            try:
                model_id = json.loads(body or b"{}").get("modelId")
            except (ValueError, AttributeError):
                model_id = None
            return model_arn(model_id, region, account_id) if isinstance(model_id, str) and model_id else "*"
        if service == "bedrock" and (job := JOB_PATH.fullmatch(path)):
            identifier = unquote(job[1])
            scope = f"arn:aws:bedrock:{region}:{account_id}:model-invocation-job/"
            return identifier if identifier.startswith("arn:") else scope + identifier
        if service == "bedrock-runtime" and (model := MODEL_PATH.fullmatch(path)):
            return model_arn(unquote(model[1]), region, account_id)
        return extract(service, method, path, headers, body, query_params, region, account_id)

    return extract_resource_arn


def install() -> None:
    """Check permissions of Bedrock's actions on jobs and models."""
    iam_actions.extract_iam_action = runtime_actions(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = job_and_model_arns(iam_actions.extract_resource_arn)
