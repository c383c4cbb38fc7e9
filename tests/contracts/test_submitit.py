"""submitit and Hydra's launcher still have what libraries/submitit_internals.py uses."""

import inspect

import pytest
import submitit
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher, SlurmLauncher
from submitit.core import utils
from submitit.local.local import LocalJob

from anima_exp.libraries import submitit_internals


@pytest.mark.parametrize("launcher", [LocalLauncher, SlurmLauncher])
def test_the_launcher_asks_each_job_for_its_results(launcher):
    assert submitit_internals.starts_jobs_of(launcher.__new__(launcher))
    assert ".results()" in inspect.getsource(launcher.launch)


def test_what_a_job_is_asked_goes_through_our_function(tmp_path):
    job = LocalJob(tmp_path, "1")
    before = submitit.Job.results
    with submitit_internals.results_through(lambda ask, asked: (ask is before, asked is job)):
        assert job.results() == (True, True)
    assert submitit.Job.results is before


def test_a_job_that_left_nothing_names_its_state(tmp_path):
    job = LocalJob(tmp_path, "1")
    job._results_timeout_s = 0
    with pytest.raises(utils.UncompletedJobError) as error:
        job.results()
    state = submitit_internals.reason(str(error.value))
    assert state == job.state
    assert "\n" not in state


def test_a_job_that_failed_gives_its_traceback_between_two_lines(tmp_path):
    job = LocalJob(tmp_path, "1")
    trace = "Traceback (most recent call last):\n  ...\nValueError: no"
    utils.cloudpickle_dump(("error", trace), job.paths.result_pickle)
    with pytest.raises(utils.FailedJobError) as error:
        job.results()
    assert submitit_internals.reason(str(error.value)) == trace
