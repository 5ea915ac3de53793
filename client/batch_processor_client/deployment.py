"""A deployment, read from its Terraform outputs, and AWS clients for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, ValidationError

from batch_processor_client.errors import ClientError

STANDARD = Config(retries={"mode": "standard", "total_max_attempts": 8})
LOCAL_ROOT = "test"
"""Key and secret of the local AWS's root."""
DEFAULT_ENVIRONMENT = "local"
OUTPUT_MODULE = Path("tools") / "output.py"
T = TypeVar("T")


class Deployment(BaseModel):
    """The outputs that the operations need. An outputs file has more of them.

    Outputs that can be None are those of Bedrock batches, in a deployment without them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str
    region: str
    batch_processor_state_machine_arn: str
    input_bucket: str
    results_bucket: str
    registry_table: str
    results_table: str
    runs_table: str
    admin_api_url: str | None = None
    bedrock_function_names: dict[str, str] | None = None
    data_bucket: str | None = None
    lake_agencies: list[str] | None = None
    lake_namespace: str | None = None
    lake_table_bucket_arn: str | None = None
    violations_table: str | None = None
    endpoint_url: str | None = None
    """Set for a local AWS only."""

    @classmethod
    def find(cls, environment: str, outputs: Path | None = None) -> Deployment:
        """The deployment of an outputs file, or of the environment, which the clone's Terraform knows.

        Raises ClientError when there is no clone of the repository, or when nothing is deployed.
        """
        return cls.of_clone(environment) if outputs is None else cls.read(outputs)

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Read the JSON that ``make output`` prints. Raises ClientError if the file is something else."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ClientError(f"{path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            text = ""
        return cls.parse(text, str(path))

    @classmethod
    def of_clone(cls, environment: str) -> Deployment:
        """Ask the clone around this folder, or around this package, for the outputs of an environment.

        Terraform's state, workspaces and the local AWS are the clone's own business: ``python -m tools.output``.
        """
        clone = find_clone()
        own = clone / ".venv" / "bin" / "python"
        interpreter = str(own) if own.exists() else sys.executable
        done = subprocess.run(  # noqa: S603 (the clone's own command)
            [interpreter, "-m", "tools.output", "--env", environment],
            cwd=clone,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClientError(done.stderr.strip() or f"tools.output of {clone} ended with {done.returncode}.")
        return cls.parse(done.stdout, f"The output of {environment}")

    @classmethod
    def parse(cls, text: str, source: str) -> Deployment:
        """Read outputs as JSON. Raises ClientError naming their ``source`` if they are something else."""
        try:
            return cls.model_validate(json.loads(text))
        except (ValueError, ValidationError):
            raise ClientError(f"{source} holds no outputs of a deployment: write them with `make output`.") from None

    def execution_arn(self, name: str) -> str:
        """The ARN of an execution, from its name or ARN."""
        if name.startswith("arn:"):
            return name
        return f"{self.batch_processor_state_machine_arn.replace(':stateMachine:', ':execution:', 1)}:{name}"

    def bedrock(self, output: T | None) -> T:
        """An output of Bedrock batches. Raises ClientError if the deployment has none."""
        if output is None:
            raise ClientError(
                f"{self.environment} has no Bedrock batches: set bedrock_batches = true in "
                f"terraform/envs/{self.environment}.tfvars and apply."
            )
        return output

    def bedrock_function(self, function: str) -> str:
        """The name of a function of Bedrock batches. Raises ClientError if the deployment has none."""
        return self.bedrock(self.bedrock_function_names)[function]

    def session(self) -> boto3.Session:
        """A session with the user's own credentials, or for a local AWS with those of its root."""
        if self.endpoint_url is None:
            return boto3.Session(region_name=self.region)
        return boto3.Session(aws_access_key_id=LOCAL_ROOT, aws_secret_access_key=LOCAL_ROOT, region_name=self.region)

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client of ``session``. ``config`` overrides the settings here."""
        merged = STANDARD.merge(config) if config else STANDARD
        options: dict[str, Any] = {"config": merged}
        if self.endpoint_url is not None:
            # Some operations put a prefix before the host (sync-states). Before an address, it would name nothing.
            options |= {"endpoint_url": self.endpoint_url, "config": merged.merge(Config(inject_host_prefix=False))}
        # boto3's stubs need a literal service name; here it is a variable.
        return self.session().client(service, **options)  # type: ignore[call-overload]


def find_clone() -> Path:
    """The clone of the repository around the current folder, or around this package. Raises ClientError."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / OUTPUT_MODULE).is_file() and (folder / "terraform" / "envs").is_dir():
                return folder
    raise ClientError(
        "Name the deployment: run this in a clone of the repository, or give --outputs <file> with what "
        "`make output` prints."
    )
