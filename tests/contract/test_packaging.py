"""The artefacts: the same bytes every time, within Lambda's limits, for the right machine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import botocore
import pytest

from tools import package

REPOSITORY = Path(__file__).resolve().parents[2]
LAYERS = {"layers/core", "layers/dependencies", "layers/duckdb", "layers/sdk"}
ELF_MACHINES = {183: "arm64", 62: "x86_64"}


@pytest.fixture(scope="module")
def lambda_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of stage; prod has the same but for the sample targets."""
    return package.build("stage", tmp_path_factory.mktemp("stage")).parent


@pytest.fixture(scope="module")
def local_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.build("local", tmp_path_factory.mktemp("local")).parent


def manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def without_own_targets(artifacts: dict[str, Any]) -> set[str]:
    """The names of the artefacts without a team's own targets, which differ from clone to clone."""
    return {name for name in artifacts if not name.startswith("targets/")}


def test_a_second_build_with_a_fresh_installation_gives_the_same_bytes(lambda_artifacts: Path, tmp_path: Path) -> None:
    again = package.build("stage", tmp_path / "stage", cache=tmp_path / "cache").parent
    for name in manifest(lambda_artifacts)["artifacts"]:
        assert (again / f"{name}.zip").read_bytes() == (lambda_artifacts / f"{name}.zip").read_bytes(), name


def test_the_manifest_names_every_function_with_size_and_hash(lambda_artifacts: Path) -> None:
    described = manifest(lambda_artifacts)
    functions = {f"functions/{handler.parent.name}" for handler in (REPOSITORY / "functions").glob("*/handler.py")}
    targets = {
        f"sample_targets/{handler.parent.name}" for handler in (REPOSITORY / "examples/targets").glob("*/handler.py")
    }
    assert without_own_targets(described["artifacts"]) == {*LAYERS, *functions, *targets}
    for name, artifact in described["artifacts"].items():
        content = (lambda_artifacts / f"{name}.zip").read_bytes()
        assert artifact["size"] == len(content)
        assert artifact["sha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_terraforms_own_tests_have_the_artefacts_that_are_built(lambda_artifacts: Path) -> None:
    assumed = json.loads((REPOSITORY / "terraform" / "tests" / "manifest.json").read_text())
    built = manifest(lambda_artifacts)
    assert without_own_targets(assumed["artifacts"]) == without_own_targets(built["artifacts"])
    assert [assumed[name] for name in ("runtime", "architecture")] == [
        built[name] for name in ("runtime", "architecture")
    ]


def test_prod_has_what_stage_has_but_no_sample_targets(lambda_artifacts: Path, tmp_path: Path) -> None:
    prod, stage = manifest(package.build("prod", tmp_path).parent), manifest(lambda_artifacts)
    hashes = {name: artifact["sha256"] for name, artifact in prod["artifacts"].items()}
    in_stage = {name: artifact["sha256"] for name, artifact in stage["artifacts"].items()}
    assert hashes == {name: sha256 for name, sha256 in in_stage.items() if not name.startswith("sample_targets/")}


def test_stage_and_prod_run_on_lambdas_python_on_arm64(lambda_artifacts: Path) -> None:
    described = manifest(lambda_artifacts)
    assert (described["runtime"], described["architecture"]) == ("python3.13", "arm64")


@pytest.mark.parametrize("layer", ["dependencies", "duckdb"])
@pytest.mark.parametrize("environment", ["lambda", "local"])
def test_compiled_libraries_are_for_the_architecture_of_the_manifest(
    environment: str, layer: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(f"{environment}_artifacts")
    machines = set()
    with zipfile.ZipFile(folder / "layers" / f"{layer}.zip") as archive:
        for name in archive.namelist():
            if name.endswith((".so", ".duckdb_extension")) or ".so." in name:
                header = archive.read(name)[:20]
                assert header[:4] == b"\x7fELF"
                machines.add(ELF_MACHINES[int.from_bytes(header[18:20], "little")])
    assert machines == {manifest(folder)["architecture"]}


def test_layers_hold_packages_below_python_and_no_sdk(lambda_artifacts: Path) -> None:
    dependencies = names(lambda_artifacts / "layers" / "dependencies.zip")
    assert all(name.startswith("python/") for name in dependencies)
    packages = {name.split("/")[1] for name in dependencies}
    assert {"pydantic", "orjson", "aws_lambda_powertools"} <= packages
    assert not {"boto3", "botocore", "s3transfer"} & packages, "the runtime brings its own, or the layer for it"
    core = names(lambda_artifacts / "layers" / "core.zip")
    assert {name.split("/")[1] for name in core} == {"foundation", "row_batches", "bedrock_batches"}


def test_the_layer_of_the_sdk_knows_what_bedrock_takes_and_answers_and_is_what_the_tests_run_with(
    lambda_artifacts: Path,
) -> None:
    """Without ``modelInvocationType`` no job is sent; without the counts, a running job shows 0 records."""
    with zipfile.ZipFile(lambda_artifacts / "layers" / "sdk.zip") as archive:
        (model,) = [name for name in archive.namelist() if re.search(r"/data/bedrock/.*/service-2\.json\.gz$", name)]
        shapes = json.loads(gzip.decompress(archive.read(model)))["shapes"]
        versions = archive.read("python/botocore/__init__.py").decode()
    assert "modelInvocationType" in shapes["CreateModelInvocationJobRequest"]["members"]
    assert {"totalRecordCount", "processedRecordCount"} <= set(shapes["GetModelInvocationJobResponse"]["members"])
    assert f"__version__ = '{botocore.__version__}'" in versions


def test_the_layer_of_duckdb_brings_the_extensions_that_are_loaded(lambda_artifacts: Path) -> None:
    extensions = {
        name.rsplit("/", 1)[1] for name in names(lambda_artifacts / "layers" / "duckdb.zip") if "/v1." in name
    }
    assert extensions == {f"{name}.duckdb_extension" for name in ("avro", "aws", "httpfs", "iceberg")}
    sizes = manifest(lambda_artifacts)["artifacts"]
    layers = sum(artifact["unzipped_size"] for name, artifact in sizes.items() if name.startswith("layers/"))
    assert layers < package.MAX_UNZIPPED_BYTES * 0.8


def test_a_function_holds_its_handler_at_the_root_and_nothing_is_compiled(local_artifacts: Path) -> None:
    described = manifest(local_artifacts)["artifacts"]
    for name in described:
        contents = names(local_artifacts / f"{name}.zip")
        assert contents == sorted(contents)
        assert not [entry for entry in contents if entry.endswith(".pyc") or "__pycache__" in entry]
        if name.startswith(("functions/", "sample_targets/")):
            assert "handler.py" in contents
    assert "sample_targets/echo" in described


def test_a_function_over_the_limit_with_its_layers_is_refused() -> None:
    half = package.MAX_UNZIPPED_BYTES // 2
    artifacts = {"layers/core": {"unzipped_size": half}, "functions/large": {"unzipped_size": half + 1}}
    with pytest.raises(package.PackagingError, match="functions/large"):
        package.check_budget(artifacts)
    package.check_budget({"layers/core": {"unzipped_size": half}, "functions/small": {"unzipped_size": half}})


def test_a_target_of_a_team_has_its_code_and_packages_without_settings_and_tests(tmp_path: Path) -> None:
    folder = tmp_path / "targets" / "mine"
    (folder / "tests").mkdir(parents=True)
    for name in ("handler.py", "words.py", "test_handler.py", "tests/test_more.py"):
        (folder / name).write_text("")
    (folder / "target.yaml").write_text("memory_mb: 512\n")
    (folder / "requirements.txt").write_text("idna==3.10\n")
    found = [name for name, _ in package.target_files(folder, package.LAMBDA, tmp_path / "cache")]
    assert {"handler.py", "words.py", "idna/core.py"} <= set(found)
    assert not [name for name in found if "test" in name or name in ("target.yaml", "requirements.txt")]
