"""Every job of every sweep composes, and each sweep says how many jobs it is."""

import re

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from anima_exp.paths import shipped

SWEEPS = sorted(shipped("sweeps").glob("*.yaml"))
assert SWEEPS, "sweeps/ is empty: these tests would pass by checking nothing"


def jobs(sweep):
    params = OmegaConf.load(sweep).hydra.sweeper.params
    overrides = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in params.items()])
    (batch,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return batch


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_every_job_composes(compose, sweep):
    for job in jobs(sweep):
        compose(f"sweep={sweep.stem}", *job)


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_the_first_line_counts_the_jobs(sweep):
    header = sweep.read_text(encoding="utf-8").splitlines()[0]
    assert re.search(rf"\b{len(jobs(sweep))} jobs\b", header), header
