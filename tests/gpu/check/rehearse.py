"""Run the whole check on a hollow GPU, which computes nothing: does every line of it run?

python tests/gpu/check/rehearse.py DRIVER [options of the check]

DRIVER is the folder that tests/gpu/hollow/build_driver.py has written.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hollow"))

from hollow_gpu import environment  # noqa: E402

# Two processor cores do what sixteen and a GPU share on the machine that the limits are made for.
SLOW = ("--patience", "15", "--seconds", "10800")


def main() -> None:
    driver, *options = sys.argv[1:]
    variables = {**os.environ, **environment(Path(driver).resolve())}
    line = [sys.executable, str(HERE), "--rehearsal", *SLOW, *options]
    os.execve(sys.executable, line, variables)


if __name__ == "__main__":
    main()
