"""Print the Terraform outputs of an environment as JSON, name to value.

python -m tools.output --env local
"""

from __future__ import annotations

import json
import sys

from tools.command_line import parser_of
from tools.errors import exit_code_of
from tools.outputs import read_outputs


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the outputs."""
    parser = parser_of("make output", __doc__)

    def command() -> int:
        options = parser.parse_args(arguments)
        print(json.dumps(read_outputs(options.env), indent=2, sort_keys=True))
        return 0

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
