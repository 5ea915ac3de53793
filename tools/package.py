"""Build the artefacts that Terraform deploys: function zips, target zips and the layers.

    python -m tools.package --env local|stage|prod

The artefacts are written to ``build/artifacts/<env>/``, with a ``manifest.json`` that lists them and a
``contract.json`` (``tools.contract``). Terraform reads both. The same sources give the same bytes: sorted names, one
date, fixed modes, no bytecode, no files about the installation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import contract
from tools.command_line import parser_of
from tools.environments import uv_environment
from tools.errors import CommandError, exit_code_of

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / "build" / "cache"
TARGETS = "targets"
"""The folder of a team's own targets, as in ``target_files.FOLDER``."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip file can hold."""
FILE_MODE = 0o100644
MAX_UNZIPPED_BYTES = 262_144_000
"""A function with its layers: 250 MB (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
DEPENDENCY_LAYERS = {
    "layers/dependencies": "core-layer.txt",
    "layers/duckdb": "duckdb-layer.txt",
    "layers/sdk": "sdk-layer.txt",
}
EXCLUDED_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json", ".lock"}
"""Files about the installation, which differ between machines."""


class PackagingError(CommandError):
    """Raised when an artefact cannot be built or is too large; the message says what to do."""


@dataclass(frozen=True)
class Platform:
    """The platform of the functions. ``python`` is ``3.13``; ``architecture`` is Lambda's ``arm64`` or ``x86_64``."""

    python: str
    architecture: str
    wheel_platform: str


LAMBDA = Platform(python="3.13", architecture="arm64", wheel_platform="aarch64-manylinux_2_28")


def local_platform(interpreter: Path) -> Platform:
    """The platform of the local AWS, whose function workers run its own interpreter."""
    program = "import platform, sys; print(*sys.version_info[:2], platform.system(), platform.machine())"
    answer = subprocess.run([str(interpreter), "-c", program], check=True, capture_output=True, text=True).stdout
    major, minor, system, machine = answer.split()
    architecture = {"aarch64": "arm64", "arm64": "arm64"}.get(machine, "x86_64")
    wheel_machine = "aarch64" if architecture == "arm64" else "x86_64"
    wheel_platform = f"{wheel_machine}-apple-darwin" if system == "Darwin" else f"{wheel_machine}-manylinux_2_28"
    return Platform(python=f"{major}.{minor}", architecture=architecture, wheel_platform=wheel_platform)


def platform_of(environment: str) -> Platform:
    """Lambda's platform, or for `local` that of the interpreter which `EMULATOR_PYTHON` names."""
    if environment != "local":
        return LAMBDA
    interpreter = Path(os.environ.get("EMULATOR_PYTHON") or REPOSITORY / ".venv-emulator" / "bin" / "python")
    if not interpreter.exists():
        raise PackagingError(
            f"The local AWS has no interpreter at {interpreter}: run `make setup`, or name one in EMULATOR_PYTHON."
        )
    return local_platform(interpreter)


def files_below(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Every file of an artefact as (name in the zip, source), sorted by name."""
    found = (path for path in folder.rglob("*") if path.is_file() and not is_excluded(path.relative_to(folder)))
    return iter(sorted((f"{prefix}{path.relative_to(folder).as_posix()}", path) for path in found))


def is_excluded(path: Path) -> bool:
    if "__pycache__" in path.parts or path.suffix == ".pyc":
        return True
    return path.name in EXCLUDED_FILES and (len(path.parts) == 1 or path.parent.suffix == ".dist-info")


def write_zip(target: Path, files: Iterator[tuple[str, Path]]) -> int:
    """Write the files to a zip; returns their unzipped size in bytes."""
    unzipped = 0
    partial = target.with_suffix(f".{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, source in files:
            content = source.read_bytes()
            unzipped += len(content)
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = FILE_MODE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    partial.replace(target)
    return unzipped


def own_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a target's function: all of its folder but its settings, its requirements and its tests."""
    return ((name, path) for name, path in files_below(folder) if not is_beside_the_code(Path(name)))


def is_beside_the_code(name: Path) -> bool:
    return name.name in ("target.yaml", "requirements.txt") or name.name.startswith("test_") or name.parts[0] == "tests"


def target_files(folder: Path, platform: Platform, cache: Path) -> Iterator[tuple[str, Path]]:
    """The files of a target's function, and the packages in its ``requirements.txt``, pinned by hash or not."""
    requirements = folder / "requirements.txt"
    files = dict(own_files(folder))
    if requirements.exists():
        pinned = "--hash=" in requirements.read_text()
        installed = dependencies_folder(platform, requirements, cache, locked=pinned)
        files = dict(files_below(installed)) | files
    return iter(sorted(files.items()))


def dependencies_folder(platform: Platform, requirements: Path, cache: Path, *, locked: bool = True) -> Path:
    """Install the dependencies for the platform, or take them from the cache; returns their folder.

    ``locked``: the requirements are a lock file with hashes, which names every package.
    """
    key = hashlib.sha256(json.dumps([platform.__dict__, requirements.read_text()]).encode()).hexdigest()[:16]
    installed = cache / f"dependencies-{platform.python}-{platform.architecture}-{key}"
    if not installed.exists():
        partial = installed.with_name(f"{installed.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        options = ["--quiet", "--target", str(partial), "--requirements", str(requirements)]
        options += ["--require-hashes", "--no-deps"] if locked else []
        options += ["--only-binary", ":all:", "--link-mode", "copy", "--no-config"]
        options += ["--python-platform", platform.wheel_platform, "--python-version", platform.python]
        command = [sys.executable, "-m", "uv", "pip", "install", *options]
        done = subprocess.run(command, check=False, env=uv_environment())
        if done.returncode != 0:
            raise PackagingError(
                f"The dependencies of {requirements} could not be installed for {platform}: see uv's message above."
            )
        shutil.rmtree(partial / "bin", ignore_errors=True)  # its scripts contain the path of this machine's interpreter
        try:
            partial.rename(installed)
        except OSError:  # another build created it meanwhile
            shutil.rmtree(partial)
    return installed


def dependencies_zip(platform: Platform, requirements: Path, cache: Path) -> Path:
    """The zip of these dependencies, from the cache if possible, because zipping DuckDB takes ten seconds."""
    installed = dependencies_folder(platform, requirements, cache)
    zipped = installed.with_name(f"{installed.name}.zip")
    if not zipped.exists():
        write_zip(zipped, files_below(installed, "python/"))
    return zipped


def build(
    environment: str, destination: Path | None = None, cache: Path | None = None, platform: Platform | None = None
) -> Path:
    """Build every artefact of the environment; returns the path of its manifest.

    Raises PackagingError if an artefact is over Lambda's limits or the dependencies cannot be installed.
    """
    folder = destination or REPOSITORY / "build" / "artifacts" / environment
    platform = platform or platform_of(environment)
    artifacts: dict[str, dict[str, object]] = {}

    def add(name: str, files: Iterator[tuple[str, Path]]) -> None:
        path = folder / f"{name}.zip"
        describe(name, path, write_zip(path, files))

    def describe(name: str, path: Path, unzipped: int) -> None:
        content = path.read_bytes()
        relative = Path(os.path.relpath(path, REPOSITORY)).as_posix()
        sha256 = base64.b64encode(hashlib.sha256(content).digest()).decode()
        artifacts[name] = {"path": relative, "sha256": sha256, "size": len(content), "unzipped_size": unzipped}

    for name, requirements in DEPENDENCY_LAYERS.items():
        path = folder / f"{name}.zip"
        zipped = dependencies_zip(platform, REPOSITORY / "requirements" / requirements, cache or CACHE)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(zipped, path)
        with zipfile.ZipFile(path) as archive:
            describe(name, path, sum(entry.file_size for entry in archive.infolist()))
    add("layers/core", files_below(REPOSITORY / "layers" / "core"))
    for handler in sorted((REPOSITORY / "functions").glob("*/handler.py")):
        add(f"functions/{handler.parent.name}", files_below(handler.parent))
    # Terraform refuses sample targets in prod only.
    if environment != "prod":
        for handler in sorted((REPOSITORY / "examples" / "targets").glob("*/handler.py")):
            add(f"sample_targets/{handler.parent.name}", own_files(handler.parent))
    for handler in sorted((REPOSITORY / TARGETS).glob("*/handler.py")):
        add(f"targets/{handler.parent.name}", target_files(handler.parent, platform, cache or CACHE))
    check_budget(artifacts)
    manifest = {"runtime": f"python{platform.python}", "architecture": platform.architecture, "artifacts": artifacts}
    contract.write(folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return path


def check_budget(artifacts: Mapping[str, Mapping[str, object]]) -> None:
    """Raise PackagingError when a function with all layers is over the limit."""
    sizes = {name: int(str(artifact["unzipped_size"])) for name, artifact in artifacts.items()}
    layers = sum(size for name, size in sizes.items() if name.startswith("layers/"))
    for name, size in sizes.items():
        if name.startswith("functions/") and layers + size > MAX_UNZIPPED_BYTES:
            raise PackagingError(
                f"{name} has {layers + size} bytes unzipped with its layers; Lambda takes {MAX_UNZIPPED_BYTES}."
            )


def package(environment: str) -> int:
    """Build the artefacts and print what was built. Raises PackagingError."""
    manifest = build(environment)
    artifacts = json.loads(manifest.read_text())["artifacts"]
    total = sum(artifact["size"] for artifact in artifacts.values())
    print(f"Built {len(artifacts)} artefacts, {total / 1e6:.1f} MB, for {environment}: {os.path.relpath(manifest)}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = parser_of("make package", __doc__)
    return exit_code_of(lambda: package(parser.parse_args(arguments).env))


if __name__ == "__main__":
    sys.exit(main())
