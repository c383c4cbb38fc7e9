"""Check what this machine can do, and what is wrong with it.

anima-exp doctor                  # as text; exit status 1 if a default run cannot work
anima-exp doctor format=json      # for a program
"""

import sys

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.diagnostics.options import DoctorConfig, DoctorFormat


def main() -> int:
    """Run the command with the arguments of `sys.argv`."""
    return run_flat("doctor", sys.argv[1:], doctor)


def doctor(arguments: list[str]) -> int:
    """Print the findings and return the exit status."""
    config = parse(arguments, DoctorConfig)
    from anima_exp.cli.program import console
    from anima_exp.diagnostics.findings import is_broken
    from anima_exp.diagnostics.report import as_json, examine, show
    from anima_exp.system.terminal import write

    findings = examine(config)
    if config.format is DoctorFormat.json:
        write(as_json(findings))
    else:
        show(findings, console())
    return int(is_broken(findings))


if __name__ == "__main__":
    sys.exit(main())
