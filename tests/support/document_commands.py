"""The commands that the documents show, read from their code blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *(REPOSITORY / folder / "README.md" for folder in ("client", "targets")),
)
BLOCK = re.compile(r"^[ \d.]*```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:make|batch-processor) [^`\n]+)`(?!`)")
SETTING = re.compile(r"([A-Z][A-Z_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One command of a page. ``words`` are those that a shell makes of it, without comment and redirection."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)

    @property
    def program(self) -> str:
        return self.words[0]

    @property
    def variables(self) -> dict[str, str]:
        """The variables that a ``make`` command gives."""
        return {match[1]: match[2] for word in self.words if (match := SETTING.fullmatch(word))}

    @property
    def targets(self) -> list[str]:
        """The targets that a ``make`` command names."""
        return [word for word in self.words[1:] if not word.startswith("-") and not SETTING.fullmatch(word)]


def blocks(text: str) -> list[str]:
    """The bash blocks of a page, without their indent."""
    return BLOCK.findall(text)


def commands(page: Path) -> list[Command]:
    """The commands of a page's bash blocks, in their order. A shell function and its calls are no commands."""
    name = str(page.relative_to(REPOSITORY))
    return [
        Command(name, words)
        for block in blocks(page.read_text(encoding="utf-8"))
        if "() {" not in block
        for line in block.replace("\\\n", " ").splitlines()
        if (words := _words(line))
    ]


def inline_commands(page: Path) -> Iterator[Command]:
    """Commands in the text of a page, which can have ``[optional]`` parts and ``…``."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for found in INLINE.findall(text):
        command = re.sub(r"<[^>]*>", "NAME", found).split(" > ")[0]
        words = tuple(word for word in re.sub(r"[\[\]']", "", command).split() if word not in ("…", "NAME"))
        yield Command(str(page.relative_to(REPOSITORY)), words)


def _words(line: str) -> tuple[str, ...]:
    words = shlex.split(line, comments=True)
    redirected = words.index(">") if ">" in words else len(words)
    return tuple(word for word in words[:redirected] if not re.fullmatch(r"\[.*\]", word))


RUN_FROM_A_CLONE = (
    "docs/how-to/your-first-target.md",
    "docs/how-to/prove.md",
    "docs/how-to/remap.md",
    "docs/how-to/retry.md",
    "docs/how-to/resume.md",
    "docs/how-to/repair-failed-rows.md",
    "docs/reference/cli.md",
)
"""The pages whose commands ``tests/e2e/test_documents.py`` runs, in this order. It runs those of the README, too."""
_BRAKE = "needs a run that goes on: tests/e2e/test_brake.py, test_operation.py and test_limits.py"
_TRIAL = "needs a run that waits after its trial: tests/e2e/test_trial.py"
_HEAL = "needs a run with several causes: tests/unit/client/test_heal.py"
_JOBS = "tests/e2e/test_bedrock_batches.py makes the same requests"
_CLIENT = "tests/contract/test_client_distribution.py installs the client"
_CONSOLE = "goes on until Ctrl-C: test_documents.py and tests/integration/console"
_PURPOSE = "runs every example, every check: it is what CI runs"
NOT_RUN = {
    "make demo": _PURPOSE,
    "make console": _CONSOLE,
    "make apply ENV=stage": "deploys to an account",
    "pip install ./client": _CLIENT,
    "batch-processor --env stage api GET /admin/bedrock/batch/jobs": _JOBS,
}
"""Commands of these pages and of the README that are not run, each with the reason."""
NOT_RUN_PAGES = {
    "docs/how-to/console.md": _CONSOLE,
    "docs/how-to/deploy.md": "needs an account",
    "docs/how-to/heal.md": _HEAL,
    "docs/how-to/purge-a-run.md": "deletes the run that the other pages need, and its questions need a terminal",
    "docs/how-to/run-a-bedrock-batch.md": _JOBS,
    "docs/how-to/stop-a-run.md": _BRAKE,
    "docs/how-to/throttle.md": _BRAKE,
    "docs/how-to/troubleshooting.md": "changes records of the lake by hand",
    "docs/how-to/try-before-you-run-all.md": _TRIAL,
    "docs/how-to/use-from-an-ai-agent.md": "installs the client, and an agent's own command",
    "docs/how-to/where-the-output-goes.md": "changes the deployment of all tests",
    "docs/how-to/write-a-document.md": "its document is an example's: tests/e2e/test_callers_and_examples.py",
    "docs/how-to/empty-columns.md": "the same command as in remap.md",
    "docs/reference/admin-api.md": _JOBS,
    "docs/reference/deployment-config.md": "needs an account; tests/unit/client/test_config.py checks files",
    "docs/reference/local-bedrock.md": "a fault that disturbs other tests: emulator/tests/test_bedrock_jobs.py",
    "client/README.md": _CLIENT,
    "targets/README.md": "the same commands as in your-first-target.md",
}
"""Pages whose commands are only parsed, each with the reason why they are not run."""
