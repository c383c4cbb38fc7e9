"""What an optimizer step and a decoded token ask of a GPU: exact counts, on a hollow GPU.

    make gpu-count                                        # all models, against counts.json
    python tests/gpu/count_launches.py --driver FOLDER 7B --kernels --set \
        trainer.activation_checkpointing=full

Exit status 1: a count is higher than the one that counts.json keeps for these library versions.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "hollow")]

from count_table import COLUMNS, DECODING, markdown, moved, with_whole  # noqa: E402
from hollow_gpu import Counter, environment  # noqa: E402

KEPT = HERE / "counts.json"
MODELS = ("7B", "33B", "Qwen3-8B")
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "liger-kernel", "triton")


def main():
    arguments = _arguments()
    if arguments.child:
        return _child(*arguments.child, arguments.set)
    counts = {}
    for name in arguments.models:
        step = _count("step", name, arguments)
        print(f"{step['about']}\n", flush=True)
        counts.setdefault("step", {})[name] = with_whole(step["counts"])
        if arguments.kernels:
            _print_kernels(step["kernels"])
            for where, count in step["waits"].items():
                print(f"{count:6} waits: {where}")
        if not arguments.set:
            counts.setdefault("decode", {})[name] = _count("decode", name, arguments)["counts"]
    print(markdown(counts), "\n")
    return 0 if arguments.set else _compare(counts, write=arguments.write)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="|".join(MODELS))
    parser.add_argument("--driver", type=Path, required=True, help="what build_driver.py wrote")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings")
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="and the lines that wait",
    )
    parser.add_argument("--write", action="store_true", help="keep these counts in counts.json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.models if name not in MODELS]:
        parser.error(f"there is no model {', '.join(unknown)}. The models are {', '.join(MODELS)}.")
    return arguments


def _count(what, name, arguments):
    """Count in a process of its own: no model is left over, and memory is reused or not.

    A step's memory is reused, as on a GPU; in decoding it is not, as stale bytes would be tokens.
    """
    command = [sys.executable, __file__, "--driver", arguments.driver, "--child", what, name]
    variables = environment(arguments.driver.resolve(), reuse_memory=what == "step")
    done = subprocess.run(
        [*command, "--set", *arguments.set],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stderr}\nCounting a {what} of {name} failed.")
    return json.loads(done.stdout.splitlines()[-1])


def _child(what, name, settings):
    if what == "step":
        from count_step import count_step

        found = count_step(name, Counter(), *settings)
    else:
        from count_decode import count_decode

        found = {"counts": count_decode(name, Counter())}
    print(json.dumps(found))
    return 0


def _print_kernels(by_phase):
    names = sorted({name for kernels in by_phase.values() for name in kernels})
    readable = subprocess.run(
        ["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True
    )
    readable = dict(zip(names, readable.stdout.splitlines(), strict=True))
    for phase, kernels in by_phase.items():
        for name, count in sorted(kernels.items(), key=lambda one: -one[1]):
            print(f"{phase:16} {count:6}  {readable[name][:160]}")
        print()


def _compare(counts, *, write):
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if libraries not in kept:
        print(f"counts.json keeps no counts with {libraries}.")
    lines, risen = moved(kept.get(libraries, {}), counts)
    print("\n".join(lines or ["All counts are as kept."]))
    if write:
        mine = kept.setdefault(libraries, {})
        for kind, models in counts.items():
            mine.setdefault(kind, {}).update(_without_time(models))
        text = json.dumps(kept, indent=1) + "\n"
        one_line = re.compile(r"\{[^{}]*\}")  # the counts of a phase
        text = one_line.sub(lambda found: " ".join(found[0].split()), text)
        KEPT.write_text(text, encoding="utf-8")
        print(f"Kept in {KEPT}.")
    return int(risen and not write)


def _without_time(models):
    compared = [name for name in {**COLUMNS, **DECODING} if name != "cpu_ms"]
    return {
        model: {
            part: {name: round(found[name], 3) for name in compared if name in found}
            for part, found in parts.items()
        }
        for model, parts in models.items()
    }


if __name__ == "__main__":
    sys.exit(main())
