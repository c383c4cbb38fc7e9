"""Build the hollow GPU for the CUDA build of torch of this environment; takes some seconds.

    python tests/gpu/hollow/build_driver.py FOLDER

It needs g++ and nm. CUDA's headers are those that the wheels of torch and Triton bring. Libraries
get the names and symbol versions that this torch was linked against, so a driver serves one
environment only. A function that torch or bitsandbytes uses and that driver/ does not define is one
that succeeds and does nothing.
"""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = {
    "cudart": ("state", "memory", "launch", "device", "stream"),
    "cuda": ("driver",),
    "cublas": ("cublas",),
    "cublasLt": ("cublaslt",),
    "nccl": ("nccl",),
    "nvidia-ml": ("nvml",),
}
WITHOUT_VERSION = {"cuda": "libcuda.so.1", "nccl": "libnccl.so.2", "nvidia-ml": "libnvidia-ml.so.1"}
# Triton and torch look these up by name, so that no list of imported symbols holds them.
LOOKED_UP = {
    "cuda": [
        *("cuCtxSetCurrent", "cuCtxPushCurrent_v2", "cuCtxSetLimit", "cuCtxSynchronize"),
        *("cuModuleUnload", "cuFuncSetAttribute", "cuFuncSetCacheConfig", "cuStreamSynchronize"),
        *("cuTensorMapEncodeTiled", "cuTensorMapEncodeIm2col"),
        *("cuMemMap", "cuMemUnmap", "cuMemSetAccess"),
    ],
    "nvidia-ml": ["nvmlErrorString"],
}


def build(site, folder):
    """Build every library of the driver into `folder`, for the packages in `site`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("lib*.so*"):
        old.unlink()
    imported = imported_symbols(site)
    include = include_flags(site)
    libraries = {}
    for name, sources in SOURCES.items():
        soname = WITHOUT_VERSION.get(name) or soname_of(name, imported)
        text = "".join((HERE / "driver" / f"{source}.cpp").read_text("utf-8") for source in sources)
        stubs = sorted(
            one
            for one in {*symbols_of(name, soname, imported), *LOOKED_UP.get(name, ())}
            if not re.search(rf"\b{re.sub('_v[23]$', '', one)}(_v[23])?\s*\(", text)
        )
        stub_file = folder / f"{name}_stubs.cpp"
        stub_file.write_text(
            "".join(f'extern "C" long {one}() {{ return 0; }}\n' for one in stubs), "utf-8"
        )
        version_file = folder / f"{name}.map"
        tag = "HOLLOW" if name in WITHOUT_VERSION else soname
        version_file.write_text(f"{tag} {{ global: *; }};\n", "utf-8")
        run(
            "g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w", *include, f"-I{HERE / 'driver'}",
            f"-Wl,-soname,{soname}", f"-Wl,--version-script={version_file}",
            *(HERE / "driver" / f"{source}.cpp" for source in sources), stub_file,
            *([libraries["cudart"]] if libraries else []), "-ldl", "-o", folder / soname,
        )  # fmt: skip
        libraries[name] = folder / soname
        (folder / f"lib{name}.so").symlink_to(soname)  # as -lcuda wants it: Triton links with it
        print(f"{soname}: built; {len(stubs)} of its functions do nothing")


def imported_symbols(site):
    """Return what torch's libraries and bitsandbytes' import, as nm writes it: name@version."""
    major = cuda_major(site)
    users = [
        *site.glob("torch/lib/*.so"),
        *site.glob("torch/_C*.so"),
        *site.glob(f"bitsandbytes/libbitsandbytes_cuda{major}*.so"),
    ]
    listed = run("nm", "-D", "--undefined-only", "--with-symbol-versions", *users)
    return {line.split()[-1] for line in listed.splitlines() if " U " in line or " w " in line}


def cuda_major(site):
    found = re.search(r"^cuda.*= '(\d+)\.", (site / "torch" / "version.py").read_text(), re.M)
    if not found:
        sys.exit(f"{site}/torch is a build without CUDA, and a hollow GPU needs one with CUDA.")
    return found[1]


def soname_of(name, imported):
    """Return the name of the library that torch was linked against, such as libcudart.so.13."""
    pattern = re.compile(rf"@@?(lib{name}\.so\.\d+)$")
    return next(found[1] for one in sorted(imported) if (found := pattern.search(one)))


def symbols_of(name, soname, imported):
    if name not in WITHOUT_VERSION:
        return {one.split("@")[0] for one in imported if one.endswith(f"@{soname}")}
    # Only functions of the driver have a capital letter after "cu": cudaMalloc is the runtime's.
    pattern = {"cuda": r"cu[A-Z][a-z]", "nccl": r"nccl[A-Z]", "nvidia-ml": r"nvml[A-Z]"}[name]
    others = r"cuFile"
    return {
        one
        for one in imported
        if "@" not in one and re.match(pattern, one) and not re.match(others, one)
    }


def include_flags(site):
    """Return -I flags: the headers of CUDA's own wheels first, Triton's for what they lack."""
    folders = [
        *sorted(site.glob("nvidia/*/include")),
        site / "triton" / "backends" / "nvidia" / "include",
    ]
    return [f"-I{folder}" for folder in folders if folder.is_dir()]


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build(Path(sysconfig.get_paths()["purelib"]), Path(sys.argv[1]))
