"""Operations on a deployment's configuration, ``batch-processor-config.yaml``. They need no deployment."""

from __future__ import annotations

from pathlib import Path

from batch_processor_client.yaml_files import read_yaml
from row_batches.document.deployment_config import FILE, DeploymentConfig


def check_config(path: Path) -> DeploymentConfig:
    """The configuration in the file. Raises FileProblemsError naming every mistake, its line and the fix."""
    return read_yaml(path).check(DeploymentConfig, FILE)
