"""A cell is what a run's name is, up to the seed."""

import copy
import itertools
import json
import random
import re
import shutil
import types
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import get_args, get_type_hints

import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load
from anima_exp.config import BENCHMARKS, RunConfig
from anima_exp.results import identity


def leaves(config, path=()):
    """(path, type) of every setting; an optional group is a setting too: it is on or off."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, here = getattr(config, field.name), (*path, field.name)
        if is_dataclass(value):
            yield from leaves(value, here)
        yield here, hints[field.name]


def changed(config, path, hint, draw):
    """A copy in which the setting at `path` has another value."""
    config = copy.deepcopy(config)
    owner = config
    for name in path[:-1]:
        owner = getattr(owner, name)
        if owner is None:  # its group was switched off before
            return config
    now = getattr(owner, path[-1])
    setattr(owner, path[-1], other(now, hint, draw))
    return config


def other(now, hint, draw):
    options = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = options[0]
    if is_dataclass(kind):
        return now if type(None) not in options else None if now is not None else kind()
    if type(None) in options and now is not None and draw.random() < 0.3:
        return None
    if isinstance(kind, type) and issubclass(kind, Enum):
        return draw.choice([member for member in kind if member is not now])
    if kind is bool:
        return not now
    if kind in (int, float):
        return kind((now or 0) + draw.randint(1, 3))
    return [*(now or []), "x"] if kind not in (str,) else f"{now or ''}x"


def write(folder, config):
    """The folder that a run of `config` leaves, without training it."""
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(identity.identity_settings(config)))
    settings = json.loads(json.dumps(identity.flatten(config)))
    synthetic.record(folder.name, settings, {"heldout_loss": 0.5}, 20).save(folder)
    return folder


def cells(folders):
    """The runs of each cell, by the names of their folders."""
    return {frozenset(run.name for run in cell.runs) for cell in build(load(folders)).cells}


def by_name(configs):
    """The same, by the names of the runs with the seed left out of them."""
    found = {}
    for place, config in enumerate(configs):
        found.setdefault(identity.run_name(replace(config, seed=0)), set()).add(str(place))
    return {frozenset(places) for places in found.values()}


@pytest.fixture(scope="module")
def base(compose):
    return compose("evals=[heldout,exact_match,answers,mmlu]", "seed=0")


def test_each_setting_alone_makes_a_cell_exactly_if_it_makes_a_name(base, tmp_path):
    draw, wrong, seen = random.Random(0), [], 0
    write(tmp_path / "0", base)
    for number, (path, hint) in enumerate(leaves(base)):
        config = changed(base, path, hint, draw)
        inside = tmp_path / f"one{number}"
        inside.mkdir()
        folder = write(inside / "1", config)
        seen += identity.flatten(config) != identity.flatten(base)
        if cells([tmp_path / "0", folder]) != by_name([base, config]):
            wrong.append(".".join(path))
    assert wrong == []
    assert seen > 100  # nearly every setting has another value in turn


@pytest.mark.parametrize("seed", range(3))
def test_equal_names_up_to_the_seed_are_one_cell_and_others_are_two(base, tmp_path, seed):
    draw = random.Random(seed)
    # A few settings, so that some of the random configs are equal in all of them.
    several = [leaf for leaf in leaves(base) if not is_dataclass(leaf[1])]
    configs = []
    for _ in range(60):
        config = base
        for path, hint in draw.sample(several, k=draw.randint(0, 2)):
            config = changed(config, path, hint, draw)
        configs.append(replace(config, seed=draw.randint(0, 2)))
    folders = [write(tmp_path / str(place), config) for place, config in enumerate(configs)]
    expected = by_name(configs)
    assert cells(folders) == expected
    assert 2 < len(expected) < 60


def test_an_eval_that_is_on_in_some_runs_makes_cells_as_it_makes_names(compose, tmp_path):
    with_and_without = ("evals=[heldout]", "evals=[heldout,mmlu]", "evals=[heldout,choices]")
    configs = [compose(evals, f"seed={seed}") for evals in with_and_without for seed in (0, 1)]
    folders = [write(tmp_path / str(place), config) for place, config in enumerate(configs)]
    assert cells(folders) == by_name(configs) == {frozenset(p) for p in ("01", "23", "45")}


def test_what_is_not_in_a_name_does_not_split_the_seeds_of_a_cell(base, tmp_path):
    flat = identity.flatten(base)
    labels = [key for key in flat if not identity.enters_name(key)]
    assert {
        "launcher.jobs",
        "sweep.retries",
        "rehearsal_scale",
        "trainer.num_gpus",
        "trainer.fsdp",
    } <= {*labels}
    assert {f"evals.{name}.batch_tokens" for name in BENCHMARKS if name == "mmlu"} <= {*labels}
    names = {"model.name", "data.name"}
    for seed, key in enumerate(key for key in labels if key not in names):
        settings = {**flat, "seed": seed, key: "other"}
        synthetic.record(key, settings, {"heldout_loss": 0.5}, 20).save(mkdir(tmp_path / key))
    found = build(load([tmp_path]))
    assert len(found.cells) == 1
    assert found.rows[0].score.n == len(labels) - 2


def mkdir(path):
    path.mkdir()
    return path


def test_a_file_counts_by_what_is_in_it_and_not_by_its_place(compose, tmp_path):
    def run(name, path, text, seed):
        path.write_text(text)
        config = compose("data=local", f"data.path={path}", "trainer.max_steps=1", f"seed={seed}")
        return write(tmp_path / name, config)

    here, there = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    folders = [run("0", here, "{}", 0), run("1", there, "{}", 1), run("2", here, "{ }", 2)]
    assert cells(folders) == {frozenset("01"), frozenset("2")}
    shown = [cell.settings["data.path"] for cell in build(load(folders)).cells]
    assert len(set(shown)) == 2
    assert all(re.fullmatch(re.escape(str(here)) + r" \([0-9a-f]{8}\)", path) for path in shown)


def test_full_fine_tuning_has_no_rank(compose, tmp_path):
    full = ("lora=full_finetune", "quant=none")
    configs = [compose(*full), compose(*full, "lora.rank=8", "seed=1"), compose("lora.rank=8")]
    folders = [write(tmp_path / str(place), config) for place, config in enumerate(configs)]
    assert cells(folders) == {frozenset("01"), frozenset("2")}


def copies(folder, *names):
    for name in names:
        shutil.copytree(folder, folder.with_name(name))


def test_a_copy_of_a_run_is_no_further_seed(tmp_path):
    for rank, loss in ((8, 0.51), (64, 0.5)):
        run = synthetic.run(tmp_path / f"r{rank}", loss=loss, **{"lora.rank": rank})
        copies(run, f"r{rank}_backup", f"r{rank}_other")
    found = build(load([tmp_path]))
    assert [(row.score.n, row.score.low) for row in found.rows] == [(1, None), (1, None)]
    assert found.rows[0].others["exact_match"].n == 1
    assert found.verdict.startswith(
        "rank=64 is ahead of rank=8 by 0.0100. Each has one seed, which cannot tell"
    )
    assert found.repeated == (
        "4 runs repeat a seed of the same settings: the scores of a seed are averaged and "
        "count once."
    )
    assert [effect.key for effect in found.effects.effects] == ["lora.rank"]
    assert found.effects.effects[0].levels[0].score.n == 1


def test_repetitions_of_a_seed_are_averaged_before_seeds_are(tmp_path):
    for name, seed, loss in (("a", 0, 1.0), ("b", 0, 2.0), ("c", 1, 3.5)):
        synthetic.run(tmp_path / name, loss=loss, seed=seed)
    (row,) = build(load([tmp_path])).rows
    assert (row.score.mean, row.score.n) == (2.5, 2)  # of 1.5 and 3.5
    assert row.score.half == pytest.approx(12.7062, rel=1e-4)  # t(1) * sqrt(2) / sqrt(2)


def made(folder, **values):
    record = folder / "record.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))


def test_seeds_of_different_code_and_libraries_are_pooled_with_a_caution(tmp_path):
    first, second, third = (synthetic.run(tmp_path / f"s{n}", seed=n) for n in range(3))
    versions = {"torch": "2.9.0", "peft": "0.18.0"}
    made(first, git={"commit": "a" * 40, "dirty": False}, versions=versions)
    made(second, git={"commit": "b" * 40, "dirty": True}, versions=versions)
    made(third, git={"commit": "b" * 40, "dirty": False}, versions={**versions, "torch": "2.10.0"})
    assert build(load([tmp_path])).caution == (
        "Caution: A mean is over runs with different code, libraries or data: commit aaaaaaa, "
        "bbbbbbb with uncommitted changes and bbbbbbb; torch 2.9.0 and 2.10.0. Part of the "
        "variation may come from that."
    )
    assert build(load([second])).caution is None


def test_cells_of_different_code_are_not_pooled(tmp_path):
    for rank, commit in itertools.product((8, 64), "ab"):
        if (rank == 8) == (commit == "a"):
            run = synthetic.run(tmp_path / f"r{rank}", **{"lora.rank": rank})
            made(run, git={"commit": commit * 40, "dirty": False})
    assert build(load([tmp_path])).caution is None


def test_fields_of_the_config_are_all_walked():
    assert {path[0] for path, _ in leaves(RunConfig())} == {f.name for f in fields(RunConfig)}
