"""Errors that a command explains in one message, without a stack trace."""

from __future__ import annotations

import sys
from collections.abc import Callable

from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from foundation.errors import BatchProcessorError


class CommandError(RuntimeError):
    """Raised when a command cannot continue; the message says why and what to do."""


def exit_code_of(command: Callable[[], int]) -> int:
    """Run a command. An expected error becomes its message on stderr and exit code 1; Ctrl-C becomes 130."""
    try:
        return command()
    except (CommandError, BatchProcessorError) as expected:
        print(expected, file=sys.stderr)
    except (ClientError, S3UploadFailedError) as refused:  # raised when AWS refuses an upload
        print(f"AWS refused: {refused}", file=sys.stderr)
    except (NoConnectionError, HTTPClientError) as silent:
        print(f"AWS could not be reached: {silent}", file=sys.stderr)
    except (BotoCoreError, Boto3Error) as unsent:
        print(f"AWS was not asked: {unsent}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 1
