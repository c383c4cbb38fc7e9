"""Signals that come before a job's time is over."""

import signal

# What a cluster's launcher listens to: Slurm sends USR1 or USR2. Windows has neither.
FROM_CLUSTER = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))
