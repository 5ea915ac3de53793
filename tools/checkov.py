"""Run checkov over the Terraform configuration and read its JSON: its exit code is 0 when a file does not parse.

    python -m tools.checkov

Fails on a failed check, on a file that does not parse, on a skip without a reason, and if nothing was checked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("terraform", "examples/callers")


def report(folder: str) -> dict[str, Any]:
    """Checkov's report on a folder: `summary` and `results`."""
    checkov = Path(os.environ.get("CHECKOV") or REPOSITORY / ".venv-checkov" / "bin" / "checkov")
    options = ["--framework", "terraform", "--download-external-modules", "false", "--skip-download", "--compact"]
    command = [str(checkov), "--directory", str(REPOSITORY / folder), *options, "--output", "json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"checkov gave no report on {folder}:\n{done.stdout}{done.stderr}") from None
    return answer


def problems(folder: str, answer: dict[str, Any]) -> list[str]:
    """The problems, one line each."""
    if not answer.get("results"):
        return [f"{folder}: checkov found no resources"]
    results = answer["results"]
    failed = (f"{place(check)}: {check['check_id']} {check['check_name']}" for check in results["failed_checks"])
    unexplained = (check for check in results["skipped_checks"] if not has_reason(check))
    found = [f"{path}: does not parse" for path in results["parsing_errors"]]
    found += failed
    found += (f"{place(check)}: {check['check_id']} is skipped without a reason" for check in unexplained)
    return found


def has_reason(check: dict[str, Any]) -> bool:
    """A reason is a sentence, not a word."""
    return len((check["check_result"].get("suppress_comment") or "").split()) >= 5


def place(check: dict[str, Any]) -> str:
    return f"{check['file_path'].lstrip('/')}:{check['file_line_range'][0]} {check['resource']}"


def main() -> int:
    found = []
    for folder in FOLDERS:
        answer = report(folder)
        found += problems(folder, answer)
        summary = answer.get("summary", {})
        print(f"{folder}: {summary.get('passed', 0)} checks passed, {summary.get('skipped', 0)} skipped with a reason")
    for problem in sorted(set(found)):
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
