"""Merge a run's adapter, or any adapter, into its base: a folder for plain transformers.

python -m anima_exp.merge run=runs/NAME out=merged
python -m anima_exp.merge adapter=FOLDER_OR_HUB_ID out=merged target=dequantized
"""

from anima_exp.cli.compose import run_command
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import MergeConfig
from anima_exp.inference.saved_model import check_base


def merge(config: MergeConfig) -> None:
    """Merge the adapter into its base, and print what was measured."""
    check_base(config)
    from anima_exp.merging.console import MergeView
    from anima_exp.merging.run import run  # the first import of torch

    run(config, listen=MergeView())


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(merge, schema=MergeConfig, config_name="merge", expand=expand_run_argument)


if __name__ == "__main__":
    main()
