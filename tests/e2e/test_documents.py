"""The pages' own commands, run as a newcomer runs them: from a fresh clone, with a handler and a file of theirs.

The commands are read from the pages. The clone shares the repository's Python environments and the session's local AWS,
so `make up` finds most of its work done.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, csv_bytes, terraform
from tests.support.document_commands import NOT_RUN, RUN_FROM_A_CLONE, Command, commands
from tests.support.local_aws import REPOSITORY

pytestmark = pytest.mark.local_only("`make up` deploys to the local AWS")
HANDLER = '''
def handler(event, context):
    """Says how long a text is, and fails for one that is empty."""
    text = event["input"]["text"]
    if not text.strip():
        raise ValueError("there is no text")
    words = text.split()
    return {
        "words": len(words),
        "longest": max(words, key=len),
    }
'''
ROWS = [
    ["id", "text"],
    ["a", "Great product"],
    ["b", "It broke after two days"],
    ["c", "naïve, „quoted“; done"],
    ["d", " "],
]
SHARED = (".venv", ".venv-emulator", ".venv-terraform")
RUN = "my-run"
DOCUMENT = {
    "csv_s3_uri": "s3://INPUT_BUCKET/rows.csv",
    "target": {"type": "tool", "name": "sentiment"},
    "output_mapping": {"columns": [{"name": "words", "source": "$.words", "type": "number"}]},
    "execution_config": {"retry_policy": {"max_attempts": 1}},
}


@dataclass
class Clone:
    """A clone of the repository, and the environment in which its commands run."""

    folder: Path
    environment: dict[str, str]

    def run(self, command: Command, **changes: str) -> str:
        """Run a command of a page; what it prints. A command for an account is run for the local AWS."""
        words = [word for word in command.words if not word.startswith("ENV=")]
        if command.program == "batch-processor":
            words = [".venv/bin/python", "-m", "batch_processor_client", *words[1:]]
            words = [
                word for position, word in enumerate(words) if "--env" not in words[max(position - 1, 0) : position + 1]
            ]
        environment = {**self.environment, **changes, "PYTHONPATH": "client:layers/core/python"}
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command.page}: {command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True, env=self.environment
        ).stdout

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((self.folder / name).read_text(encoding="utf-8"), newline="")))


@pytest.fixture(scope="module")
def clone(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A fresh clone of HEAD. Afterwards, the session's deployment is that of the repository again."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("a folder without Git's history cannot be cloned")
    folder = tmp_path_factory.mktemp("newcomer") / "batch-processor"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    _share_environments(folder)
    hidden = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    yield Clone(folder, environment | deployment.variables)
    terraform(["apply", "--env", "local"], deployment.variables)


def _share_environments(folder: Path) -> None:
    """Link the repository's Python environments and its cache of packages into the clone."""
    for name in SHARED:
        if (REPOSITORY / name).exists():
            (folder / name).symlink_to((REPOSITORY / name).resolve())
    with (folder / ".git" / "info" / "exclude").open("a", encoding="utf-8") as excluded:
        excluded.writelines(f"/{name}\n" for name in SHARED)
    # make looks at times: a lock file that is older than the environment is installed in it.
    for lock in (folder / "requirements" / "dev.txt", folder / "emulator" / "requirements.txt"):
        os.utime(lock, (0, 0))
    cache = REPOSITORY / "build" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "build").mkdir()
    (folder / "build" / "cache").symlink_to(cache)


def test_a_newcomer_has_the_output_of_their_own_handler_with_the_commands_of_the_readme(
    clone: Clone, tmp_path: Path
) -> None:
    # Given a handler and a file of theirs, under the names of the README
    (clone.folder / "handler.py").write_text(HANDLER, encoding="utf-8")
    (clone.folder / "reviews.csv").write_bytes(csv_bytes(ROWS))
    # When the commands of the README are run, as they stand
    shown = [command for command in commands(REPOSITORY / "README.md") if str(command) not in NOT_RUN]
    assert [str(command).split()[1] for command in shown] == ["up", "run", "target", "try", "run"]
    for command in shown:
        clone.run(command)
    # Then their own output is there: each row once, in order, with its answer or the reason why it failed
    (output,) = [command.variables["OUTPUT"] for command in shown if "reviews.csv" in str(command)]
    rows = clone.rows(output)
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["words"] for row in rows] == ["2", "5", "3", ""]
    assert "there is no text" in rows[3]["_error_message"]
    # And no file of the repository was edited: there are only their own
    own = {
        "handler.py",
        "reviews.csv",
        *(command.variables["OUTPUT"] for command in shown if "OUTPUT" in command.variables),
    }
    assert {line[3:] for line in clone.git("status", "--porcelain").splitlines()} == own
    # And `make down` stops the local AWS of its folder: there is none in this one
    assert "No local AWS runs." in clone.run(Command("README.md", ("make", "down")), LOCAL_AWS_DIR=str(tmp_path))


def test_the_console_of_the_readme_answers_until_it_is_interrupted(clone: Clone) -> None:
    process = subprocess.Popen(
        ["make", "console"],
        cwd=clone.folder,
        env=clone.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        address = _address(process)
        # As in a browser: the address gives a cookie, and leads to the page.
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(address, timeout=60) as page:
            assert page.status == 200
            assert "<html" in page.read().decode()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    """The address that the console prints."""
    assert process.stdout is not None
    deadline, said = time.monotonic() + 120, ""
    while time.monotonic() < deadline and select.select([process.stdout], [], [], 120)[0]:
        line = process.stdout.readline()
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\S+", line):
            return found.group()
        if not line:
            break
    raise AssertionError(f"no address: {said}")


def test_the_commands_of_the_how_to_pages_work_one_after_the_other(clone: Clone, deployment: Deployment) -> None:
    # Given the files that the pages name, and no target of an earlier test
    folder = clone.folder
    shutil.rmtree(folder / "targets" / "sentiment", ignore_errors=True)
    (folder / "handler.py").write_text(HANDLER, encoding="utf-8")
    (folder / "batch.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    (folder / "rows.csv").write_bytes(csv_bytes(ROWS))
    results, refused = deployment.outputs["results_bucket"], list[str]()
    # When the commands of each page are run, as they stand
    for page in RUN_FROM_A_CLONE:
        for command in commands(REPOSITORY / page):
            if str(command) in NOT_RUN:
                continue
            try:
                said = clone.run(command)
            except AssertionError as failed:
                refused.append(str(failed))
                continue
            assert "verify" not in command.words or "Verified: 4 rows" in said
        if page == "docs/how-to/your-first-target.md":
            # Then there is a run with the name that the other pages use, and its files
            run = ("make", "run", "INPUT=batch.json", "CSV=rows.csv", f"NAME={RUN}")
            clone.run(Command(page, run))
            for name in ("proof.json", "proof_rows.b64", "output.csv", "failed_rows.csv"):
                (folder / name).write_bytes(deployment.read(results, f"results/{RUN}/{name}"))
    # Then none is refused
    assert refused == []
    assert [row["words"] for row in clone.rows("new.csv")] == ["2", "5", "3", ""]
