"""What a run, or with -m every cell of a grid, would cost; nothing is loaded.

python -m anima_exp.plan model=guanaco33b data=belle_merge
python -m anima_exp.plan -m sweep=lora_search
"""

from anima_exp.compose import command
from anima_exp.config import RunConfig


def plan(config: RunConfig) -> None:
    from anima_exp.plan.cost import cost
    from anima_exp.plan.report import show
    from anima_exp.run_checks import check_files

    check_files(config)
    show(cost(config))


def with_sweeper(arguments: list[str]) -> list[str]:
    """A grid is shown, not run."""
    # Beside another override: argparse wants all of them in one place, be -m before or behind.
    place = next((n for n, one in enumerate(arguments) if "=" in one and one[0] != "-"), None)
    place = len(arguments) if place is None else place
    return [*arguments[:place], "hydra/sweeper=plan", *arguments[place:]]


if __name__ == "__main__":
    command(plan, expand=with_sweeper)
