"""Check Python, the packages, torch, GPUs and bitsandbytes."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

from anima_exp.diagnostics.findings import Finding, Level
from anima_exp.system import hardware

_PROBE = "anima_exp.diagnostics.probe"
_PROBE_SECONDS = 180.0  # importing torch and bitsandbytes takes 10 s, on a network disk a minute
# Extras: what they are for, and how to get them.
_EXTRAS = {
    "liger_kernel": ("liger-kernel", "gpu", "fused GPU kernels"),
    "optuna": ("optuna", "optuna", "hydra/sweeper=optuna"),
    "openai": ("openai", "judge", "anima-exp judge"),
    "wandb_workspaces": ("wandb-workspaces", "wandb-report", "anima-exp compare wandb=true"),
    "tensorboard": ("tensorboard", "tensorboard", "tracking=tensorboard"),
    "mlflow": ("mlflow", "mlflow", "tracking=mlflow"),
    "trackio": ("trackio", "trackio", "tracking=trackio"),
}


def packages() -> Iterator[Finding]:
    """Yield Python, this package, and every package that it requires."""
    yield Finding("software", "Python", f"{platform.python_version()} ({sys.executable})")
    try:
        yield Finding("software", "anima-exp", version("anima-exp"))
        wanted = requires("anima-exp") or []
    except PackageNotFoundError:
        yield Finding(
            "software", "anima-exp", "not installed", Level.warning,
            "Its requirements are unknown. Install it: pip install -e .",
        )  # fmt: skip
        return
    for text in wanted:
        if "extra ==" not in text:
            yield from _package(text)
    yield _extras()


def _package(requirement: str) -> Iterator[Finding]:
    """Yield a finding for a package that is missing or of another version, or that matters."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker and not wanted.marker.evaluate():
        return
    install = f'pip install "{wanted.name}{wanted.specifier}"'
    try:
        here = version(wanted.name)
    except PackageNotFoundError:
        yield Finding(
            "software", wanted.name, "not installed", Level.broken, f"Install it: {install}"
        )
        return
    if wanted.specifier and not wanted.specifier.contains(here, prereleases=True):
        yield Finding(
            "software", wanted.name, f"{here}, but anima-exp needs {wanted.specifier}",
            Level.warning, f"Install a version that was tested: {install}",
        )  # fmt: skip
    elif wanted.name in ("transformers", "peft", "accelerate", "datasets"):
        yield Finding("software", wanted.name, here)


def _extras() -> Finding:
    there = [name for module, (name, _, _) in _EXTRAS.items() if find_spec(module)]
    missing = {extra: use for module, (_, extra, use) in _EXTRAS.items() if not find_spec(module)}
    uses = ", ".join(missing.values())
    advice = f"For {uses}: pip install 'anima-exp[{','.join(missing)}]'." if missing else ""
    return Finding(
        "software",
        "extras",
        ", ".join(there) + " are installed" * bool(there) or "none",
        Level.info,
        advice,
    )


def probe(seconds: float = _PROBE_SECONDS) -> Mapping[str, Any]:
    """Return what torch and bitsandbytes can do, tried in another process (probe.py).

    A process that ends badly gives {"error": why}.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROBE], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"importing torch and bitsandbytes took longer than {seconds:g} s"}
    except OSError as error:
        return {"error": f"{sys.executable} cannot be started: {error.strerror}"}
    if done.returncode < 0:
        return {"error": f"importing torch or bitsandbytes crashed with signal {-done.returncode}"}
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit status {done.returncode}")
        return {"error": last}
    return result if isinstance(result, dict) else {"error": "the probe printed no object"}


def libraries(probed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings about torch, GPUs and bitsandbytes, from what `probe` returned."""
    reinstall = "Install torch again, in a fresh environment."
    if "error" in probed:
        yield Finding("software", "torch", str(probed["error"]), Level.broken, reinstall)
        return
    torch = probed["torch"]
    if "error" in torch:
        yield Finding("software", "torch", torch["error"], Level.broken, reinstall)
        return
    yield Finding("software", "torch", f"{torch['version']}, {_build(torch)}")
    yield from _bitsandbytes(probed)
    yield from _gpus(probed.get("gpus", {}), torch)
    yield _processor(torch)


def _build(torch: Mapping[str, Any]) -> str:
    if torch["cuda_build"]:
        return f"built for CUDA {torch['cuda_build']}"
    return f"built for ROCm {torch['hip_build']}" if torch["hip_build"] else "built for CPUs only"


def _bitsandbytes(probed: Mapping[str, Any]) -> Iterator[Finding]:
    bnb, layer = probed.get("bitsandbytes", {}), probed.get("layer", {})
    if "error" in bnb:
        advice = "Install it again: pip install --force-reinstall --no-deps bitsandbytes"
        yield Finding("software", "bitsandbytes", bnb["error"], Level.broken, advice)
        return
    library = bnb["library"] or "no compiled library, so torch's own operations"
    if "error" in layer:
        yield Finding(
            "software", "bitsandbytes", f"{bnb['version']} ({library}): {layer['error']}",
            Level.broken, "A 4-bit layer cannot be trained. quant=none trains without it.",
        )  # fmt: skip
        return
    how = (
        f"{bnb['version']}, {library}; a 4-bit layer has gradients on the {layer['device'].upper()}"
    )
    if bnb["avx512_bf16"] and layer["device"] == "cpu":
        how += "; its AVX512-BF16 kernel stays off in training, because it has no gradient"
    yield Finding("software", "bitsandbytes", how)


def _gpus(gpus: Mapping[str, Any], torch: Mapping[str, Any]) -> Iterator[Finding]:
    listed = hardware.gpus()
    driver = driver_version()
    if "error" in gpus:
        yield Finding(
            "hardware", "GPU", gpus["error"], Level.warning,
            "Runs would use the processor. Check the driver with nvidia-smi.",
        )  # fmt: skip
        return
    for number, gpu in enumerate(gpus.get("gpus", ())):
        bf16 = "bf16" if gpu["bf16"] else "no bf16, so use trainer.precision=fp16"
        yield Finding(
            "hardware", f"GPU {number}",
            f"{gpu['name']}, {gpu['free_gib']:.1f} of {gpu['total_gib']:.1f} GiB free, "
            f"compute capability {gpu['capability']}, {bf16}",
            Level.ok if gpu["bf16"] else Level.warning,
            "" if gpu["bf16"] else "fp16 may diverge; see anima-exp help trainer.precision.",
        )  # fmt: skip
    if gpus.get("count"):
        yield Finding("hardware", "driver", driver or "unknown")
        if problem := gpus.get("triton"):
            yield Finding(
                "software", "Triton", problem, Level.warning,
                "Runs work, but fused kernels are off, so steps take longer.",
            )  # fmt: skip
        return
    if driver is None and not machine_has_gpu(listed):
        yield Finding("hardware", "GPU", "none", Level.info, "Runs use the processor.")
    elif torch["cuda_build"] is None and torch["hip_build"] is None:
        yield Finding(
            "hardware", "GPU", f"there is one (driver {driver or 'unknown'}), but torch was built "
            "for CPUs only", Level.warning,
            "Install a torch built for CUDA; pytorch.org/get-started names the command.",
        )  # fmt: skip
    else:
        why = gpus.get("problem") or "torch finds no GPU that it may use"
        yield Finding(
            "hardware", "GPU", why, Level.warning,
            f"Torch was {_build(torch)}; the driver is {driver or 'unknown'}. Update the driver, "
            "or install a torch for an older CUDA. CUDA_VISIBLE_DEVICES may hide a GPU.",
        )  # fmt: skip


def machine_has_gpu(listed: object) -> bool:
    """Return whether there may be a GPU: `hardware.gpus` lists one, or cannot tell."""
    return listed is None or bool(listed)


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None without one."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"[\d.]+", done.stdout.strip())
    return match[0] if match and done.returncode == 0 else None


def _processor(torch: Mapping[str, Any]) -> Finding:
    bf16 = torch["cpu_bf16"]
    words = {True: "has bf16 instructions", False: "no bf16 instructions", None: "bf16 unknown"}
    advice = "On this processor trainer.precision=fp32 is many times faster than bf16."
    return Finding(
        "hardware",
        "processor",
        f"{hardware.cpu()}, {torch['cpu']}, {words[bf16]}, {torch['threads']} "
        f"thread{'s' * (torch['threads'] != 1)}",
        Level.ok if bf16 is not False else Level.info,
        "" if bf16 is not False else advice,
    )
