"""Print the Terraform outputs of an environment as JSON, name to value.

python -m tools.output --env local
"""

from __future__ import annotations

import argparse
import json
import sys

from tools.errors import exit_code_of
from tools.outputs import read_outputs


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the outputs."""
    parser = argparse.ArgumentParser(prog="make output", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", default="local", choices=["local", "stage", "prod"], help="default: local")
    options = parser.parse_args(arguments)

    def command() -> int:
        print(json.dumps(read_outputs(options.env), indent=2, sort_keys=True))
        return 0

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
