"""The Terraform outputs of an environment."""

from __future__ import annotations

from typing import Any

from batch_processor_client.deployment import Deployment
from tools import local_aws
from tools.errors import CommandError
from tools.terraform import Terraform


def read_outputs(env: str) -> dict[str, Any]:
    """Terraform's outputs of an environment, name to value. Raises CommandError when nothing is deployed."""
    outputs = Terraform(env).outputs()
    if not outputs:
        raise CommandError(
            f"Nothing is deployed to {env}: run `make {'up' if env == 'local' else f'apply ENV={env}'}`."
        )
    if env == "local":  # it can have started at another port since it was deployed to
        outputs["endpoint_url"] = local_aws.endpoint_url()
    return outputs


def deployment_of(env: str) -> Deployment:
    """The client's view of an environment. Raises CommandError when nothing is deployed."""
    return Deployment.model_validate(read_outputs(env))
