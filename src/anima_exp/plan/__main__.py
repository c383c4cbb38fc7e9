"""What a run, or with -m every cell of a grid, would cost; nothing is loaded.

python -m anima_exp.plan model=guanaco33b data=belle_merge
python -m anima_exp.plan -m sweep=lora_search
"""

from anima_exp.compose import command
from anima_exp.config import RunConfig
from anima_exp.errors import ConfigError
from anima_exp.further import with_adapter


def plan(config: RunConfig) -> None:
    from anima_exp import further
    from anima_exp.plan.cost import cost
    from anima_exp.plan.report import show
    from anima_exp.run_checks import check_files

    check_files(config)
    further.check(config.model, config.lora)
    show(cost(config))


def with_sweeper(arguments: list[str]) -> list[str]:
    """A grid is shown, not run."""
    for argument in arguments:
        if argument.startswith("hydra/sweeper=") and argument != "hydra/sweeper=plan":
            raise ConfigError(f"{argument}: plan shows a grid, and starts no other sweeper.")
    return [*with_adapter(arguments), "hydra/sweeper=plan"]


if __name__ == "__main__":
    command(plan, config_name="plan", expand=with_sweeper)
