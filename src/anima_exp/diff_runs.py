"""Show what differs between two runs: settings, scores, costs and versions.

anima-exp diff runs/A runs/B
anima-exp diff tiny-sample-61 tiny-sample-fe format=csv
"""

import sys

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.errors import ConfigError
from anima_exp.inspection.options import DiffConfig, TextFormat


def main() -> int:
    """Run the command with the arguments of `sys.argv`."""
    return run_flat("diff", sys.argv[1:], show_difference)


def show_difference(arguments: list[str]) -> None:
    """Print what differs between two runs."""
    config = parse(arguments, DiffConfig, words="runs")
    if len(config.runs) != 2:
        raise ConfigError(
            f"diff compares two runs, and {len(config.runs)} are given. `anima-exp compare` takes "
            "any number."
        )
    from anima_exp.cli.program import console
    from anima_exp.inspection import console as view
    from anima_exp.inspection.detail import find_run, run_detail
    from anima_exp.inspection.difference import difference
    from anima_exp.inspection.export import difference_as_csv, difference_as_json
    from anima_exp.system.terminal import write

    first, second = (run_detail(find_run(one, config.runs_dir)) for one in config.runs)
    result = difference(first, second)
    if config.format is TextFormat.text:
        view.show_difference(result, console())
    elif config.format is TextFormat.json:
        write(difference_as_json(result))
    else:
        write(difference_as_csv(result))


if __name__ == "__main__":
    sys.exit(main())
