"""Run `python -m anima_exp.inspect_data` under its former name."""

from anima_exp.cli.compose import run_command
from anima_exp.inspect_data import report

if __name__ == "__main__":
    run_command(report, config_name="data")
