"""Merge the adapter of a run, or any adapter, into its base: a folder for plain transformers.

anima-exp merge run=runs/NAME out=merged
anima-exp merge adapter=FOLDER_OR_HUB_ID out=merged target=dequantized
"""

from anima_exp.cli.compose import run_command
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import MergeConfig
from anima_exp.inference.saved_model import check_base
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.merging.given import check_given


def merge(config: MergeConfig) -> None:
    """Merge the adapter into its base, and print what was measured."""
    check_given(config)
    check_base(config)
    import_bitsandbytes()
    from anima_exp.merging.console import MergeView
    from anima_exp.merging.run import run  # the first import of torch

    run(config, listen=MergeView())


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(merge, schema=MergeConfig, config_name="merge", expand=expand_run_argument)


if __name__ == "__main__":
    main()
