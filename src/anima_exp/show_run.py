"""Show one run: settings that differ, what it trains, scores, files; how to resume it.

anima-exp show runs/NAME
anima-exp show tiny-sample-61     # the beginning of a name in runs/ is enough
"""

import sys

from anima_exp.cli.flat_command import run_flat
from anima_exp.cli.flat_settings import parse
from anima_exp.errors import ConfigError
from anima_exp.inspection.options import ShowConfig, TextFormat


def main() -> int:
    """Run the command with the arguments of `sys.argv`."""
    return run_flat("show", sys.argv[1:], show_one)


def show_one(arguments: list[str]) -> None:
    """Print one run."""
    config = parse(arguments, ShowConfig, words="run")
    if len(config.run) != 1:
        raise ConfigError("Give one run: anima-exp show runs/NAME. `anima-exp runs` lists them.")
    if config.format is TextFormat.csv:
        raise ConfigError("format=csv: one run is no table. Use format=json.")
    from anima_exp.cli.reproduce import reproduce
    from anima_exp.inspection.detail import find_run, run_detail
    from anima_exp.inspection.next_steps import next_steps

    detail = run_detail(find_run(config.run[0], config.runs_dir))
    again = reproduce(detail.settings)
    if config.format is TextFormat.json:
        from anima_exp.inspection.export import run_as_json
        from anima_exp.system.terminal import write

        write(run_as_json(detail, dict(again.changed), [*again.overrides]))
        return
    from anima_exp.cli.program import console
    from anima_exp.inspection.console import show_run

    show_run(
        detail,
        console(),
        settings=again.overrides,
        next_steps=next_steps(detail, again),
        files=config.files,
    )


if __name__ == "__main__":
    sys.exit(main())
