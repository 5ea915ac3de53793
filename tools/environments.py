"""Creates a virtual environment with exactly the packages of a hashed lock file.

    python -m tools.environments .venv requirements/dev.txt [more lock files]
    python -m tools.environments --lock requirements/dev.in [more requirements]

Needs only Python's standard library, so a clean machine can run it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEVELOPMENT_LOCK = REPOSITORY / "requirements" / "dev.txt"
MINIMUM_PYTHON = (3, 11)
UV = REPOSITORY / ".venv" / "bin" / "uv"


def uv_settings(pip_configuration: str) -> dict[str, str]:
    """The environment variables that make uv use the same indexes as pip, because uv does not read pip's files.

    ``pip_configuration`` is the output of ``pip config list``: lines ``section.option='value'``. The section ``:env:``
    holds pip's environment variables, which take precedence. Taking the best match over all indexes, as pip does,
    cannot bring in another artefact, because every lock file pins hashes.
    """
    found: dict[str, str] = {}
    from_variables: dict[str, str] = {}
    for line in pip_configuration.splitlines():
        match = re.fullmatch(r"([^=]+)\.([\w-]+)='(.*)'", line.strip())
        if match:
            section, option, value = match.groups()
            if section in ("global", "install"):
                found[option] = value.replace("\\n", " ")
            elif section == ":env:":
                from_variables[option] = value
    found.update(from_variables)
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
        "trusted-host": "UV_INSECURE_HOST",
        "no-index": "UV_NO_INDEX",
        "default-timeout": "UV_HTTP_TIMEOUT",
        "timeout": "UV_HTTP_TIMEOUT",
    }
    settings = {names[option]: " ".join(value.split()) for option, value in found.items() if option in names and value}
    if "UV_FIND_LINKS" in settings:
        settings["UV_FIND_LINKS"] = settings["UV_FIND_LINKS"].replace(" ", ",")
    settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def uv_environment() -> dict[str, str]:
    """This process's environment, with variables that point uv to pip's indexes. uv's own variables take precedence."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return {**uv_settings(listed.stdout), **os.environ}


def make_environment(folder: Path, locks: list[Path]) -> None:
    """Create ``folder`` if it is missing, and install exactly the packages that the lock files list."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        run([sys.executable, "-m", "venv", str(folder)])
    if not UV.exists():
        install_uv()
    # uv must change the given interpreter, not an activated environment.
    environment = {name: value for name, value in uv_environment().items() if name != "VIRTUAL_ENV"}
    sync = [str(UV), "pip", "sync", "--quiet", "--require-hashes", "--python", str(interpreter)]
    run([*sync, *map(str, locks)], environment)


def lock(requirements: list[Path], *, upgrade: bool) -> None:
    """Pin each ``x.in`` into ``x.txt`` beside it, for every platform, with hashes and without index addresses.

    Without ``upgrade``, existing pins stay unchanged.
    """
    for requirement in requirements:
        compile_command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        compile_command += ["--upgrade"] if upgrade else []
        form = ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        output = ["--output-file", str(requirement.with_suffix(".txt"))]
        run([*compile_command, *form, *output, str(requirement)], uv_environment())
        print(f"Locked {requirement.with_suffix('.txt')}")


def install_uv() -> None:
    """Install uv itself into ``.venv``, at the version and hashes of the development lock file."""
    development = REPOSITORY / ".venv"
    if not (development / "bin" / "python").exists():
        run([sys.executable, "-m", "venv", str(development)])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(requirement_of("uv", DEVELOPMENT_LOCK.read_text()))
        pinned.flush()
        pip = [str(development / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", pinned.name])


def requirement_of(package: str, lock: str) -> str:
    """The entry of one package in a lock file, with its hashes."""
    match = re.search(rf"^{re.escape(package)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    if match is None:
        raise SystemExit(f"{package} is not in the lock file: run `make lock`.")
    return match.group(0)


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command. If it fails, end this process with its exit code; the command has printed the reason."""
    completed = subprocess.run(command, env=environment, cwd=REPOSITORY, check=False)
    if completed.returncode != 0:
        raise SystemExit(completed.returncode)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line; create the environment or the lock files."""
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tools.environments", description=summary)
    parser.add_argument("--lock", action="store_true", help="pin the named requirements instead")
    parser.add_argument("--upgrade", action="store_true", help="with --lock: take the newest versions allowed")
    parser.add_argument(
        "paths", type=Path, nargs="+", help="an environment, then lock files; with --lock, requirements"
    )
    options = parser.parse_args(arguments)
    if sys.version_info < MINIMUM_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SystemExit(f"Python 3.11 or newer is needed, not {found}: run make with PYTHON=<path of a newer one>.")
    if options.lock:
        lock(options.paths, upgrade=options.upgrade)
    elif len(options.paths) < 2:
        parser.error("name an environment and at least one lock file")
    else:
        make_environment(options.paths[0], options.paths[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
