"""Hydra's launcher on Ray still has what libraries/ray_internals.py uses."""

import inspect
from importlib.util import find_spec

import pytest


@pytest.mark.skipif(not find_spec("ray"), reason="pip install 'anima-exp[ray]'")
def test_the_ray_launcher_asks_for_results_through_its_modules_own_name_ray():
    from hydra_plugins.hydra_ray_launcher import _core

    from anima_exp.libraries import ray_internals

    assert "ray.get(" in inspect.getsource(_core)
    before = _core.ray
    with ray_internals.results_through(lambda ask, job: (ask == before.get, job)):
        assert _core.ray.get("job") == (True, "job")
    assert _core.ray is before
