"""What Terraform knows about an environment, and AWS clients for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tools import local_aws
from tools.errors import CommandError

REPOSITORY = Path(__file__).resolve().parent.parent


def read_outputs(env: str) -> dict[str, Any]:
    """Terraform's outputs of an environment, name to value. Raises CommandError when nothing is deployed."""
    variables = {**os.environ, **(local_aws.location() if env == "local" else {})}
    answer = subprocess.run(
        [sys.executable, "-m", "tools.terraform", "output", "--env", env],
        cwd=REPOSITORY,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    if answer.returncode != 0:
        raise CommandError(f"No Terraform outputs of {env}:\n{(answer.stderr or answer.stdout).strip()}")
    outputs: dict[str, Any] = json.loads(answer.stdout)
    if not outputs:
        raise CommandError(
            f"Nothing is deployed to {env}: run `make {'up' if env == 'local' else f'apply ENV={env}'}`."
        )
    return outputs


@dataclass(frozen=True)
class Deployment:
    """An environment that is deployed: its Terraform outputs and how to reach it."""

    env: str
    outputs: dict[str, Any]

    @classmethod
    def of(cls, env: str) -> Deployment:
        """Read the outputs of an environment. Raises CommandError when nothing is deployed."""
        return cls(env, read_outputs(env))

    @property
    def state_machine_arn(self) -> str:
        return str(self.outputs["batch_processor_state_machine_arn"])

    @property
    def input_bucket(self) -> str:
        return str(self.outputs["input_bucket"])

    @property
    def results_bucket(self) -> str:
        return str(self.outputs["results_bucket"])

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution of the state machine, from its name; an ARN is left as it is."""
        if name.startswith("arn:"):
            return name
        return f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client. Locally with the local AWS's endpoint and root; else as the AWS CLI would be set up.

        ``config`` wins over the settings here.
        """
        client: Any = boto3.Session(region_name=str(self.outputs["region"])).client
        patient = Config(retries={"mode": "standard", "total_max_attempts": 8})
        options: dict[str, Any] = {"config": patient.merge(config) if config else patient}
        if self.env == "local":
            options |= {"endpoint_url": local_aws.endpoint_url()}
            options |= {"aws_access_key_id": local_aws.ROOT, "aws_secret_access_key": local_aws.ROOT}
        return client(service, **options)
