"""Signals that come before a job's time is over."""

import signal

# What a cluster's launcher listens to: Slurm sends USR1 or USR2. Windows has neither.
FROM_CLUSTER = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))

# A scheduler signals every process of a job, and those that started others pass it on: what comes
# again so soon is the same wish, and no second one.
SAME_WISH_SECONDS = 2.0
