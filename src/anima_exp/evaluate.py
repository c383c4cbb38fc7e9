"""Measure a finished run, an adapter or a bare base again, with any evals.

anima-exp evaluate run=runs/NAME evals=[mmlu]
anima-exp evaluate model=llama7b adapter=FOLDER_OR_HUB_ID evals=[mmlu,cmmlu]
anima-exp evaluate model=llama7b quant=none evals=[mmlu] evals.mmlu.path=FOLDER
"""

from anima_exp.cli.compose import run_command
from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.config import EvaluateConfig
from anima_exp.inference.saved_model import check_base


def evaluate(config: EvaluateConfig) -> None:
    """Measure a finished run, an adapter or a base model, and save the scores."""
    from anima_exp.evals.heldout_check import check_rows

    check_base(config)
    check_rows(config)
    from anima_exp.evals.report import run  # the first import of torch

    run(config)


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(evaluate, schema=EvaluateConfig, config_name="evaluate", expand=expand_run_argument)


if __name__ == "__main__":
    main()
