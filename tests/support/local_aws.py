"""The local AWS that the product's tests run on: one of their own, or the one that ``make up`` started."""

from __future__ import annotations

import os
from pathlib import Path

from emulator.testing import ACCOUNT_ID, REGION, LocalAws, LocalAwsError

__all__ = ["ACCOUNT_ID", "REGION", "REPOSITORY", "LocalAws", "LocalAwsError", "RunningLocalAws"]

REPOSITORY = Path(__file__).resolve().parents[2]


class RunningLocalAws(LocalAws):
    """The local AWS that ``make up`` started; left running."""

    def __init__(self, port: str) -> None:
        super().__init__()
        self.endpoint_url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        """The server's process id, from its folder."""
        folder = Path(os.environ.get("LOCAL_AWS_DIR", REPOSITORY / "build" / "local-aws"))
        return int((folder / "pid").read_text())
