"""Fresh Python environments with the client installed, as a person makes one with pip."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.terraform_files import REPOSITORY
from tools.environments import UV, uv_environment

CLIENT = REPOSITORY / "client"
VERSIONS = sorted({"3.11", "3.13", f"{sys.version_info.major}.{sys.version_info.minor}"})
"""The oldest Python that the client supports, that of the functions, and the one that runs the tests."""


def interpreter(version: str) -> str:
    """A Python of this version, of those that uv or pyenv know. Skips the test if there is none."""
    found = subprocess.run(
        [UV, "python", "find", version], env=_environment(), check=False, capture_output=True, text=True
    )
    if found.returncode == 0:
        return found.stdout.strip()
    # uv asks pyenv's shim, which knows only the versions that are switched on.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted((root / "versions").glob(f"{version}.*/bin/python{version}"))
    if not installed:
        pytest.skip(f"neither uv nor pyenv has a Python {version}: {found.stderr.strip()}")
    return str(installed[-1])


def installed(version: str, folder: Path, extra: str = "") -> Path:
    """The ``bin`` of a new environment with `pip install ./client`. Skips the test without that Python."""
    home = folder / f"environment-{version}"
    run(str(UV), "venv", "--quiet", "--python", interpreter(version), str(home), folder=folder)
    package = f"{CLIENT}{f'[{extra}]' if extra else ''}"
    run(str(UV), "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), package, folder=folder)
    return home / "bin"


def run(*command: str, folder: Path, **variables: str) -> str:
    """What a command prints, which must succeed."""
    environment = {**_environment(), **variables}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def _environment() -> dict[str, str]:
    found = {name: value for name, value in uv_environment().items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return {**found, "UV_PYTHON_DOWNLOADS": "never"}
