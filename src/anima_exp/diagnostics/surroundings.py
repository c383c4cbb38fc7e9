"""Check memory, disks, caches, accounts, the network and a cluster's tools."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil  # type: ignore[import-untyped]

from anima_exp.diagnostics.findings import Finding, Level
from anima_exp.errors import ConfigError, without_password
from anima_exp.system import paths
from anima_exp.system.hardware import cores

_GIB = 2**30
_LITTLE_DISK_GIB = 10.0  # a 7B base in 4 bits and a few runs
_NO_DISK_GIB = 0.2  # the tiny world's run takes 0.02
_LITTLE_MEMORY_GIB = 2.0  # a run of the tiny world takes 0.6 on a CPU, importing torch included
_REACH_SECONDS = 3.0
_SIZING_SECONDS = 3.0  # then the size of a cache is "more than"


def memory() -> Iterator[Finding]:
    """Yield the memory and cores that this process may use."""
    result = psutil.virtual_memory()
    free, total = result.available / _GIB, result.total / _GIB
    limit = _cgroup_limit()
    text = f"{free:.1f} of {total:.1f} GiB free"
    if limit is not None and limit < total:
        text += f", of which this process may use {limit:.1f}"
        free = min(free, limit)
    little = free < _LITTLE_MEMORY_GIB
    yield Finding(
        "hardware", "memory", text, Level.warning if little else Level.ok,
        "A run of the tiny world needs about 1 GiB. End other programs." if little else "",
    )  # fmt: skip
    here, all_cores = cores(), os.cpu_count() or 1
    shared = f" of the machine's {all_cores}" if here < all_cores else ""
    yield Finding("hardware", "cores", f"{here}{shared}")


def _cgroup_limit() -> float | None:
    """Return the memory limit of this container or job in GiB; None without one."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return int(text) / _GIB if text.isdigit() else None
    return None


def storage(runs_dir: str, cache_dir: str | None) -> Iterator[Finding]:
    """Yield the disk of the runs and of the cache, and what the caches hold."""
    yield _disk("runs", runs_dir, "runs_dir")
    try:
        cache = paths.cache(cache_dir)
    except ConfigError as error:
        yield Finding("storage", "cache", str(error), Level.broken, "Set ANIMA_EXP_CACHE.")
        return
    yield _disk("cache", str(cache), "cache_dir")
    for name, folder in (("cache size", cache), ("hub cache", hub_cache())):
        if folder.is_dir():
            yield Finding("storage", name, f"{_size(folder)} in {folder}", Level.info)


def _disk(name: str, place: str, key: str) -> Finding:
    try:
        folder = paths.expanded(place, key).absolute()
    except ConfigError as error:
        return Finding("storage", name, str(error), Level.broken, f"Give another {key}=FOLDER.")
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "cannot be written" if there.is_dir() else "is a file"
        return Finding(
            "storage", name, f"{there} {why}", Level.broken,
            f"Give another {key}=FOLDER, or change its permissions.",
        )  # fmt: skip
    usage = shutil.disk_usage(there)
    free = usage.free / _GIB
    level = (
        Level.broken if free < _NO_DISK_GIB else
        Level.warning if free < _LITTLE_DISK_GIB else Level.ok
    )  # fmt: skip
    advice = "" if level is Level.ok else f"Make room, or give another {key}=FOLDER."
    return Finding(
        "storage", name, f"{folder}, {free:.1f} of {usage.total / _GIB:.1f} GiB free", level, advice
    )


def hub_cache() -> Path:
    """Return the folder of models and data sets that huggingface_hub has downloaded."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return paths.known_path(given)
    return hub_home() / "hub"


def hub_home() -> Path:
    """Return the folder where huggingface_hub keeps its token and its cache."""
    if given := os.environ.get("HF_HOME"):
        return paths.known_path(given)
    return paths.known_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def _size(folder: Path) -> str:
    """Return the size of a folder, measured for a few seconds at most."""
    total, until, over = 0, time.monotonic() + _SIZING_SECONDS, ""
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                result = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            total += result.st_blocks * 512 if hasattr(result, "st_blocks") else result.st_size
        if time.monotonic() > until:
            over = "more than "
            break
    return f"{over}{total / _GIB:.1f} GiB"


def accounts() -> Iterator[Finding]:
    """Yield which keys and tokens are there. Their values are never shown."""
    from anima_exp.results.trackers.wandb_account import has_key

    result = {
        "Hugging Face token": (
            bool(os.environ.get("HF_TOKEN")) or (hub_home() / "token").is_file(),
            "Gated models and publish need one: hf auth login",
        ),
        "W&B key": (has_key(), "Without it W&B's runs are kept offline: wandb login"),
        "judge key": (
            bool(os.environ.get("OPENAI_API_KEY")),
            "A judge at OpenAI needs one: set OPENAI_API_KEY.",
        ),
    }
    for name, (there, use) in result.items():
        value = "set" if there else "not set"
        yield Finding("accounts", name, value, Level.info, "" if there else use)


def network(*, ask: bool) -> Iterator[Finding]:
    """Yield whether the servers answer that this machine is configured to use.

    Args:
        ask: whether to ask them at all.
    """
    servers = _servers()
    with ThreadPoolExecutor(max(len(servers), 1)) as pool:
        answers = {
            name: pool.submit(question) if ask else None for name, (question, _) in servers.items()
        }
    for name, (_, use) in servers.items():
        answer = answers[name]
        if answer is None:
            yield Finding("network", name, "skipped: network=false", Level.info)
        elif problem := answer.result():
            yield Finding("network", name, problem, Level.info, use)
        else:
            yield Finding("network", name, "answers")


def _servers() -> dict[str, tuple[Callable[[], str | None], str]]:
    """Return the servers to ask, and what does not work without each."""
    from anima_exp.libraries import hub
    from anima_exp.results.trackers import wandb_account

    result: dict[str, tuple[Callable[[], str | None], str]] = {
        "hub": (
            hub.unreachable,
            "Only what is on this machine can be used: model=tiny data=sample, folders, and the "
            "hub cache.",
        )
    }
    if wandb_account.has_key() and wandb_account.chosen_mode() not in ("offline", "disabled"):
        result["W&B"] = (wandb_account.unreachable, "Runs are kept offline, to be synced later.")
    if judge := os.environ.get("OPENAI_BASE_URL"):
        result["judge server"] = (
            partial(_unreachable, judge),
            "anima-exp judge needs it. Start it, or correct OPENAI_BASE_URL.",
        )
    return result


def _unreachable(url: str) -> str | None:
    """Return why a server does not answer; None if it does, be it with an error."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_REACH_SECONDS):
            return None
    except HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"{without_password(url)}: {getattr(error, 'reason', None) or error}"


def cluster() -> Iterator[Finding]:
    """Yield the tools of a cluster that are there."""
    slurm = shutil.which("sbatch") is not None
    if slurm or "SLURM_JOB_ID" in os.environ:
        plugin = find_spec("hydra_plugins.hydra_submitit_launcher") is not None
        job = f"job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else "no job"
        yield Finding(
            "cluster", "Slurm", f"here, {job}", Level.ok if plugin else Level.info,
            "" if plugin else "For hydra/launcher=slurm: pip install 'anima-exp[slurm]'",
        )  # fmt: skip
    if find_spec("ray") is not None:
        plugin = find_spec("hydra_plugins.hydra_ray_launcher") is not None
        yield Finding(
            "cluster", "Ray", "installed", Level.ok if plugin else Level.info,
            "" if plugin else "For hydra/launcher=ray: pip install 'anima-exp[ray]'",
        )  # fmt: skip
    if not slurm and find_spec("ray") is None:
        yield Finding("cluster", "Slurm, Ray", "none", Level.info)
