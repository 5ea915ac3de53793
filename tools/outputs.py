"""The Terraform outputs of an environment, and AWS clients for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

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
    return outputs


@dataclass(frozen=True)
class Deployment:
    """A deployed environment: its Terraform outputs, and clients that reach it."""

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

    @property
    def results_table(self) -> str:
        return str(self.outputs["results_table"])

    @property
    def runs_table(self) -> str:
        return str(self.outputs["runs_table"])

    @property
    def region(self) -> str:
        return str(self.outputs["region"])

    def bedrock_output(self, name: str) -> Any:
        """An output that only Bedrock batches have. Raises CommandError if they are not deployed."""
        if self.outputs.get(name) is None:
            raise CommandError(
                f"{self.env} has no Bedrock batches: set bedrock_batches = true in terraform/envs/{self.env}.tfvars "
                f"and apply."
            )
        return self.outputs[name]

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution of the state machine, from its name or ARN."""
        if name.startswith("arn:"):
            return name
        return f"{self.state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client: for the local AWS with its endpoint and root, otherwise configured like the AWS CLI.

        ``config`` overrides the settings here.
        """
        client: Any = boto3.Session(region_name=self.region).client
        patient = Config(retries={"mode": "standard", "total_max_attempts": 8})
        options: dict[str, Any] = {"config": patient.merge(config) if config else patient}
        if self.env == "local":
            client = local_aws.session(self.region).client
            options["endpoint_url"] = local_aws.endpoint_url()
        return client(service, **options)
