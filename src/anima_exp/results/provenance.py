"""Record where a result comes from: versions, git state, hardware, memory and model hashes."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anima_exp.errors import ModelError
from anima_exp.libraries import hub
from anima_exp.libraries.huggingface_hub_internals import commit_of
from anima_exp.results.record import Record
from anima_exp.system import hashing, json_files

_PACKAGE = Path(__file__).resolve().parents[1]
# A git hook of another repository sets these variables, which name that repository.
_GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
_NOT_IN_A_RUN = ("compare", "elo", "judge", "merge", "page", "publish", "sweep")  # other commands
_PACKAGES = (
    "anima-exp", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets",
    "tokenizers", "wandb",
)  # fmt: skip
_MODEL_FILES = {".safetensors", ".bin", ".json", ".model", ".txt"}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    known = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known


def git_state() -> dict[str, Any]:
    """Return the commit of the anima_exp checkout, and whether the package differs from it.

    It is {} without a checkout. Changed tests and documents do not count, but new modules do.
    """
    if {"site-packages", "dist-packages"} & set(_PACKAGE.parts):
        return {}  # an installed package, maybe inside another repository
    try:
        if not _git(_PACKAGE, "ls-files", str(_PACKAGE / "__init__.py")):
            return {}
        commit = _git(_PACKAGE, "rev-parse", "HEAD")
        changed = _git(_PACKAGE, "status", "--porcelain", "--untracked-files=all", "--", ".")
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return {}


@cache
def code_hash() -> str:
    """Return a hash over the modules of this package that a run may use."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE)
        if name.parts[0] not in _NOT_IN_A_RUN:
            digest.update(f"{name.as_posix()}:{path.stat().st_size}:".encode())
            digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def code_differs(record: Record) -> str | None:
    """Return how this code differs from the code that made a record; None if it does not."""
    if not record.code or record.code == code_hash():
        return None
    then, now = record.versions.get("anima-exp"), versions().get("anima-exp")
    if then != now:
        return f"version {then} then, {now} now"
    was, state = record.git, git_state()
    if was and state:
        return f"{_commit(was)} then, {_commit(state)} now"
    return f"files of version {now} were edited"


def _commit(git: dict[str, Any]) -> str:
    return f"commit {git['commit'][:8]}{' with changes' * bool(git.get('dirty'))}"


def hardware() -> dict[str, str]:
    """Return the processor architecture, the number of threads, and the GPUs."""
    import torch

    known = {"machine": platform.machine(), "cpu_threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        known["gpu"] = torch.cuda.get_device_name()
        known["gpus"] = str(torch.cuda.device_count())
        known["cuda"] = str(torch.version.cuda)
    return known


def base_fingerprint(source: str, revision: str | None = None, *, cache: Path | None = None) -> str:
    """Return a hash of the model files in a folder, or the hub's commit of `revision`.

    Args:
        cache: the cache folder, which keeps the hashes of large files.

    Raises:
        ModelError: if there is no such folder, and it cannot be downloaded from the hub.
    """
    if Path(source).is_dir():
        return folder_fingerprint(Path(source), cache=cache)
    found = hub.file(source, "config.json", where=f"model.source={source}", revision=revision)
    if found is None:
        raise ModelError(f"model.source={source} contains no config.json.")
    return f"hub:{commit_of(found)}"


def adapter_fingerprint(folder: Path, *, cache: Path | None = None) -> str:
    """Return a hash of the weights and the settings of an adapter in a folder.

    The path of its base is not part of the hash, because it differs between machines.

    Args:
        cache: the cache folder, which keeps the hashes of large files.

    Raises:
        OSError, ValueError: if a file is missing or cannot be read.
    """
    names = ("adapter_model.safetensors", "adapter_model.bin")
    weights = next((path for path in map(folder.joinpath, names) if path.is_file()), folder)
    paths = (folder / "adapter_config.json", weights)
    files = tuple((path, hashing.State.of(path.stat())) for path in paths)
    # Cached in this process, so that the cells of a sweep read an adapter once.
    hashed = _settled_adapter if all(state.settled for _, state in files) else _adapter
    return hashed(files, cache)


def _adapter(files: tuple[tuple[Path, hashing.State], ...], cache: Path | None) -> str:
    (settings, _), (weights, _) = files
    values = json_files.read_table(settings)
    kept = {k: v for k, v in values.items() if k not in ("base_model_name_or_path", "revision")}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    digest.update(hashing.sha256(weights, cache=cache).encode())
    return f"sha256:{digest.hexdigest()}"


_settled_adapter = lru_cache(_adapter)


def tables_fingerprint(folder: Path) -> str:
    """Return a hash of all CSV files below a folder, and of its mapping.json."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.csv"), *folder.glob("mapping.json")]):
        digest.update(f"{path.relative_to(folder).as_posix()}:{path.stat().st_size}:".encode())
        digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def folder_fingerprint(folder: Path, *, cache: Path | None = None) -> str:
    """Return a hash of the model files in a folder.

    Args:
        cache: the cache folder, which keeps the hashes of large files.

    Raises:
        OSError: if a file cannot be read.
    """
    paths = (path for path in sorted(folder.iterdir()) if path.suffix in _MODEL_FILES)
    files = tuple((path, hashing.State.of(path.stat())) for path in paths if path.is_file())
    # Cached in this process, so that the cells of a sweep read a folder once.
    hashed = _settled_folder if all(state.settled for _, state in files) else _folder
    return hashed(files, cache)


def _folder(files: tuple[tuple[Path, hashing.State], ...], cache: Path | None) -> str:
    large = [path for path, state in files if state.size > hashing.LARGE]
    hashes = dict(zip(large, hashing.sha256_of_all(large, cache=cache), strict=True))
    digest = hashlib.sha256()
    for path, state in files:
        digest.update(f"{path.name}:{state.size}:".encode())
        # A large file is represented by its hash. Its size, which precedes it, excludes confusion.
        digest.update(hashes[path].encode() if path in hashes else path.read_bytes())
    return f"sha256:{digest.hexdigest()}"


_settled_folder = lru_cache(_folder)


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
        env={key: value for key, value in os.environ.items() if key not in _GIT_VARIABLES},
    )
    return run.stdout.strip()


def reset_peak_memory() -> None:
    """Reset the peak of GPU memory. The peak of a process's CPU memory cannot be reset."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.init()  # type: ignore[no-untyped-call]
        for gpu in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(gpu)


def peak_memory_gib(paged: Mapping[int, int] | None = None) -> float:
    """Return the peak memory of the fullest GPU since `reset_peak_memory`, or of this process.

    Args:
        paged: the bytes of paged optimizer states on each GPU, which torch does not count. They
            count as far as the GPU has memory for them.
    """
    import resource
    import sys

    import torch

    if torch.cuda.is_available():
        return _of_fullest_gpu(torch.cuda.max_memory_allocated, paged)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def peak_reserved_gib(paged: Mapping[int, int] | None = None) -> float | None:
    """Return the peak memory that torch reserved on the fullest GPU, including unused parts.

    Other programs cannot use this memory. None without a GPU.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    return _of_fullest_gpu(torch.cuda.max_memory_reserved, paged)


def _of_fullest_gpu(taken: Callable[[int], int], paged: Mapping[int, int] | None) -> float:
    import torch

    def used(gpu: int) -> int:
        states = (paged or {}).get(gpu, 0)
        if not states:
            return taken(gpu)
        total = torch.cuda.get_device_properties(gpu).total_memory
        return taken(gpu) + max(0, min(states, total - torch.cuda.max_memory_reserved(gpu)))

    return max(map(used, range(torch.cuda.device_count()))) / 2**30


def memory_in_use_gib() -> float:
    """Return the memory in use now, counted as in `peak_memory_gib`."""
    import psutil  # type: ignore[import-untyped]
    import torch

    if torch.cuda.is_available():
        return _of_fullest_gpu(torch.cuda.memory_allocated, None)
    return float(psutil.Process().memory_info().rss) / 2**30


def free_memory(gpu: int | None = None) -> int:
    """Return the bytes that this process can still allocate, on a GPU or in CPU memory without one.

    Args:
        gpu: the number of a GPU; by default the current one.
    """
    import psutil
    import torch

    if torch.cuda.is_available():
        cached = torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu)
        return int(torch.cuda.mem_get_info(gpu)[0]) + cached
    return int(psutil.virtual_memory().available)


def free_memories() -> list[int]:
    """Return the free bytes of every visible GPU. The query itself uses some memory on each."""
    import torch

    return [free_memory(gpu) for gpu in range(torch.cuda.device_count())]
