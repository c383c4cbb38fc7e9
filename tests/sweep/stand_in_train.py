"""`python stand_in_train.py -m ...`: anima_exp.train, with stand_in.run for a run."""

import stand_in

from anima_exp.compose import command
from anima_exp.sweep import pool, worker

if __name__ == "__main__":
    worker.train = stand_in.run
    pool.PRELOAD = ["stand_in"]
    command(lambda config: stand_in.run(config))
