"""What all tests share: composing a config, and an environment without a network or W&B."""

import os
import shutil
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any import of ours: nothing in a test may look for a network or write to the home folder.
os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false"}
# The models are so small that threads only wait for each other, much the more on a busy machine.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

# A job in the background ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hydra
import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from anima_exp.cli.compose import parse, register_schema
from anima_exp.cli.error_messages import explain_error
from anima_exp.config import RunConfig
from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import ConfigError
from anima_exp.events import listening
from anima_exp.system.paths import shipped

register_schema()
pytest.register_assert_rewrite("claims")  # tests/browser/claims.py: a failure shows its values


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMA_EXP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def compose() -> Callable[..., RunConfig]:
    """compose("model=llama7b", "seed=1") -> the RunConfig that this command line gives."""

    def _compose(*overrides: str) -> RunConfig:
        try:
            with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
                return parse(hydra.compose("train", overrides=list(overrides)))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain_error(error)) from error

    return _compose


@pytest.fixture
def shown() -> Iterator[None]:
    """What is emitted is printed, as under a command."""
    with listening(TerminalView()):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data, where this machine has it; a test that needs it skips elsewhere."""
    named = os.environ.get("ANIMA_EXP_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data here: set ANIMA_EXP_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium with one tab; a test that needs it skips where there is none.

    It is closed after each module, because asyncio cannot run next to an open one.
    """
    pytest.importorskip("playwright", reason="no playwright: install the extra dev")
    programs = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(programs)} is installed")
    from support.chromium import Browser

    browser = Browser(program)
    yield browser
    browser.close()


@pytest.fixture
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """The address of a server that accepts and never answers, and what it has accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    accepted.append(server.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)  # which ends accept()
        thread.join()
        for connection in accepted:
            connection.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests were skipped and why: a green run without them proves less."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section(f"{reasons.total()} tests skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")
