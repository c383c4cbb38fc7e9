"""Measure a finished run, an adapter or a bare base again, with any evals.

python -m anima_exp.evaluate run=runs/tiny-sample-fb542add51 evals=[mmlu]
python -m anima_exp.evaluate model=llama7b adapter=FOLDER_OR_HUB_ID evals=[mmlu,cmmlu]
python -m anima_exp.evaluate model=llama7b quant=none evals=[mmlu]
"""

from anima_exp.compose import command
from anima_exp.config import UseConfig
from anima_exp.finished import with_run


def evaluate(config: UseConfig) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    command(evaluate, schema=UseConfig, config_name="evaluate", expand=with_run)
