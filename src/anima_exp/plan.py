"""Estimate what a run, or with -m every cell of a grid, would cost; nothing is loaded.

anima-exp plan model=guanaco33b data=belle_merge
anima-exp plan -m sweep=lora_search
"""

from anima_exp.cli.adapter_settings import with_adapter
from anima_exp.cli.compose import run_command
from anima_exp.config import RunConfig
from anima_exp.errors import ConfigError


def plan(config: RunConfig) -> None:
    """Print what the run would cost."""
    from anima_exp.api.experiments import plan as cost_of
    from anima_exp.planner.report import show

    show(cost_of(config))


def with_sweeper(arguments: list[str]) -> list[str]:
    """Make a grid be shown and not run."""
    for argument in arguments:
        if argument.startswith("hydra/sweeper=") and argument != "hydra/sweeper=plan":
            raise ConfigError(f"{argument}: plan shows a grid, and starts no other sweeper.")
    return [*with_adapter(arguments), "hydra/sweeper=plan"]


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(plan, config_name="plan", expand=with_sweeper)


if __name__ == "__main__":
    main()
