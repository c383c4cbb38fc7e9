"""`python stand_in_train.py -m ...`: anima_exp.train, with stand_in_run.run for a run."""

import stand_in_run

from anima_exp.cli.compose import run_command
from anima_exp.sweeping import job_process, pool

if __name__ == "__main__":
    job_process.train = stand_in_run.run
    pool.PRELOAD = ["stand_in_run"]
    run_command(lambda config: stand_in_run.run(config))
