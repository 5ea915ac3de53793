"""Errors that a command explains in one message, without a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Callable

from batch_processor_client.errors import EXPECTED, ClientError, explain


class CommandError(ClientError):
    """Raised when a command cannot continue; the message says why and what to do."""


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command. An expected error becomes its message on stderr and exit code 1; Ctrl-C becomes 130."""
    try:
        return command()
    except EXPECTED as expected:
        print(explain(expected), file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 1
