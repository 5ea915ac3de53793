"""The command ``batch-processor``, as the end-to-end tests run it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.deployment import Deployment
from tests.support.local_aws import REPOSITORY


def run_client(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a deployment, without a terminal."""
    path = os.pathsep.join(str(REPOSITORY / folder) for folder in ("client", "layers/core/python"))
    return subprocess.run(
        [sys.executable, "-m", "batch_processor_client", "--env", deployment.environment, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.variables, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
