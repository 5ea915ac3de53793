"""The commands that the documents show, read from their code blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.local_aws import REPOSITORY

PAGES = (
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *(REPOSITORY / folder / "README.md" for folder in ("client", "targets")),
)
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
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
        return dict(match.groups() for word in self.words if (match := SETTING.fullmatch(word)))

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
