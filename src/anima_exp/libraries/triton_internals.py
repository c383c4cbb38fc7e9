"""The parts of Triton that we use although its documentation does not promise them.

They were read in Triton 3.5 to 3.7, which torch 2.9 to 2.13 install. A change of them only costs
the early, clear line: the first kernel would then fail with Triton's own error.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from anima_exp.errors import first_line


@cache
def triton_problem() -> str | None:
    """Return why Triton cannot run a kernel on this process's GPU, and what to do; else None.

    Triton compiles a small C module before the first kernel, and one for each kernel's arguments
    before release 3.7. So it needs a C compiler, Python's headers and a cache folder. The answer
    is a clause without a full stop. Call it only where torch finds a GPU: it imports Triton,
    and compiles that first module unless it is in the cache (about a second).
    """
    if find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    return _compiler_problem() or _driver_problem()


def _compiler_problem() -> str | None:
    """Look for what `triton.runtime.build._build` needs, in the places where it looks."""
    if not sys.platform.startswith("linux"):  # the builds for Windows bring their own compiler
        return None
    named = os.environ.get("CC")  # taken as one program, without arguments, even if it is empty
    if named is not None and shutil.which(named) is None:
        return f"CC={named} is not a program, and Triton compiles with it (unset or correct CC)"
    if named is None and not any(map(shutil.which, ("gcc", "clang"))):
        return "Triton finds no C compiler (install gcc, or set CC to a compiler)"
    headers = Path(sysconfig.get_paths(scheme=_scheme())["include"])
    more = [os.environ.get(name, "") for name in ("CPATH", "C_INCLUDE_PATH")]
    places = [headers, *(Path(one) for text in more for one in text.split(os.pathsep) if one)]
    if not any((place / "Python.h").is_file() for place in places):
        return f"Triton finds no Python.h in {headers} (install python3-dev or python3-devel)"
    return None


def _scheme() -> str:
    """Return the scheme of paths that Triton uses: Debian's own one has no headers."""
    scheme = sysconfig.get_default_scheme()
    return "posix_prefix" if scheme == "posix_local" else scheme


def _driver_problem() -> str | None:
    """Load `triton.runtime.driver.active`, which compiles the C module that reads the GPU.

    It fails for many reasons: no libcuda, a cache folder that cannot be written or holds no
    programs, a compiler that does not work. Each has an error of its own.
    """
    try:
        from triton.runtime import driver

        driver.active.get_current_target()
    except subprocess.CalledProcessError as error:  # its text is the whole command
        return f"Triton's compiler {error.cmd[0]} fails, with the message above (repair it)"
    except Exception as error:
        return f"Triton does not start: {type(error).__name__}: {first_line(error).rstrip('.')}"
    return None
