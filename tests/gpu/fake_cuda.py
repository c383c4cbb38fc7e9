"""A "cuda" device for torch's CPU build: FakeTensors whose device is cuda:0, backward passes too.

Call `install()` before the first import of torch, then compute inside `fake_tensors()`. Devices,
dtypes and shapes that do not fit are found at the true shapes of a 7B model, in seconds and
without memory. Nothing has a value: `.item()`, `nonzero()` and whatever else depends on data end
with DataDependentOutputException, and each would be a wait for a real device.

torch's CPU build has no guard for CUDA devices, which autograd asks for. guard.cpp is one; it is
compiled here by g++, in a few seconds, once for each torch.
"""

import ctypes
import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_GUARD = Path(__file__).with_name("guard.cpp")
_CAPABILITY = (9, 0)
_MEMORY = 141 * 2**30


def install() -> None:
    """Make torch believe in one GPU; this process cannot go back.

    Raises:
        subprocess.CalledProcessError: g++ does not compile guard.cpp.
    """
    found = importlib.util.find_spec("torch")
    assert found is not None and found.origin is not None
    folder = Path(found.origin).parent
    guard = _compiled(folder)
    # The guard registers itself with libraries that torch's own import would load.
    for name in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(folder / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(guard), mode=ctypes.RTLD_GLOBAL)

    from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes

    import_bitsandbytes()  # before there is a GPU, whose library it would look for
    from torch._subclasses.fake_tensor import FakeTensorMode

    _say_there_is_one()
    FakeTensorMode.avoid_device_init = property(lambda _: True)  # type: ignore[assignment,misc]


def _compiled(folder: Path) -> Path:
    """Compile guard.cpp against the torch in `folder`; a second call finds the result."""
    version = (folder / "version.py").read_bytes()
    key = sha256(str(folder).encode() + version + _GUARD.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"anima_exp_fake_cuda_{os.getuid()}_{key}.so"
    if not library.exists():
        made = library.with_suffix(f".{os.getpid()}")
        arguments = ["g++", "-O1", "-w", "-shared", "-fPIC", "-std=c++20", f"-I{folder}/include"]
        arguments += ["-o", str(made), str(_GUARD), f"-L{folder}/lib", "-lc10", "-ltorch_cpu"]
        subprocess.run(arguments, check=True)
        made.replace(library)
    return library


def _say_there_is_one() -> None:
    """Answer what torch.cuda is asked about its devices."""
    import torch

    name = "NVIDIA H200"
    properties = SimpleNamespace(
        name=name,
        total_memory=_MEMORY,
        major=_CAPABILITY[0],
        minor=_CAPABILITY[1],
        multi_processor_count=132,
        uuid="0",
    )
    answers: dict[str, Any] = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_capability": _CAPABILITY,
        "get_device_name": name,
        "get_device_properties": properties,
        "mem_get_info": (_MEMORY, _MEMORY),
        "memory_allocated": 0,
        "memory_reserved": 0,
        "max_memory_allocated": 0,
    }
    nothing = ("_lazy_init", "init", "synchronize", "empty_cache", "set_device", "manual_seed")
    for attribute, value in {**answers, **dict.fromkeys(nothing)}.items():
        setattr(torch.cuda, attribute, lambda *_, _value=value, **__: _value)
    torch._C._cuda_getCurrentRawStream = lambda *_: 0  # type: ignore[attr-defined]


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Inside, every new tensor is a FakeTensor on the device that it names."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@contextmanager
def real_tensors() -> Iterator[None]:
    """Inside, within `fake_tensors()`, new tensors are real ones."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    with unset_fake_temporarily():
        yield
