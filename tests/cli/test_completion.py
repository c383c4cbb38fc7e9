"""Tab completes commands, groups, choices, keys and values; each shell by its own script."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
from support import synthetic

from anima_exp.cli import completion_command
from anima_exp.cli.commands import COMMANDS
from anima_exp.cli.completion import complete


def words(*typed):
    return [one.word for one in complete(typed)]


def test_the_first_word_is_a_command():
    assert words("tr") == ["train"]
    assert words("") == [*COMMANDS]
    assert words("unknown", "") == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["train", "trainer.b"], ["trainer.batch_size="]),
        (["train", "tr"], ["tracking=", "trainer.", "tracking."]),
        (["train", "model=guanaco3"], ["model=guanaco33b"]),
        (["train", "-m", "model=llama7b,guanaco3"], ["model=llama7b,guanaco33b"]),
        (["train", "evals=[heldout,mm"], ["evals=[heldout,mmlu"]),
        (["train", "evals=[hel"], ["evals=[heldout"]),
        (["train", "sweep=dem"], ["sweep=demo"]),
        (["train", "experiment=table9/7b_o"], ["experiment=table9/7b_oasst1"]),
        (["train", "optimizer.schedule=l"], ["optimizer.schedule=linear"]),
        (["train", "dry_run="], ["dry_run=true", "dry_run=false"]),
        (["train", "--cfg", "j"], ["job"]),
        (["train", "--c"], ["--cfg", "--config-dir"]),
        (["evaluate", "subj"], ["subjects="]),
        (["judge", "judge="], ["judge=openai", "judge=reference"]),
        (["judge", "mod"], []),
        (["compare", "format=m"], ["format=markdown"]),
        (["elo", "perm"], ["permutations="]),
        (["runs", "status=[done,fa"], ["status=[done,failed"]),
        (["completion", "f"], ["fish"]),
        (["help", "heldout_l"], ["heldout_loss", "heldout_loss_NAME"]),
        (["help", "trainer.b"], ["trainer.batch_size"]),
        (["help", "lora=ff"], ["lora=ffn"]),
        (["train", "nothing.x"], []),
    ],
)  # fmt: skip
def test_a_word_is_completed(typed, found):
    assert words(*typed) == found


def test_files_and_runs_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.run(tmp_path / "runs/tiny-a1")
    (tmp_path / "rows.json").write_text("")
    (tmp_path / ".hidden").write_text("")
    assert words("show", "ti") == ["tiny-a1"]
    assert words("show", "runs/") == ["runs/tiny-a1/"]
    assert words("compare", "ru") == ["runs=", "runs/"]
    assert words("train", "data.path=ro") == ["data.path=rows.json"]
    assert words("evaluate", "run=runs/t") == ["run=runs/tiny-a1/"]
    assert ".hidden" not in words("diff", "")


def test_no_answer_imports_what_is_slow():
    code = """
import sys
from anima_exp.__main__ import main
for words in (["tr"], ["train", "trainer.b"], ["train", "model="], ["help", "held"], ["elo", "k"]):
    sys.argv = ["anima-exp", "complete", "zsh", *words]
    main()
print(*[m for m in ("torch", "hydra", "omegaconf", "numpy", "rich") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """An `anima-exp` on the path, as an installation makes it."""
    script = tmp_path / "bin/anima-exp"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom anima_exp.__main__ import main\nmain()\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def needs(shell):
    return pytest.mark.skipif(not shutil.which(shell), reason=f"no {shell} here")


@needs("bash")
def test_bash_completes_behind_an_equals_sign(program):
    code = """
eval "$(anima-exp completion bash)"
for line in "anima-exp tr" "anima-exp train model=guanaco3" "anima-exp train evals=[hel,mm" \\
            "anima-exp train lora=f,key" "anima-exp show "; do
    COMP_LINE="$line" COMP_POINT=${#line} _anima_exp
    printf '<%s>' "${COMPREPLY[@]}"; echo
done
complete -p anima-exp
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=program, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    first, model, evals, lora, show, registered = done.stdout.splitlines()
    assert (first, model, evals, lora) == (
        "<train >", "<guanaco33b >", "<[hel,mmlu>", "<f,key_query >",
    )  # fmt: skip
    assert "<run=>" in show
    assert registered == "complete -o nospace -F _anima_exp anima-exp"


@needs("fish")
def test_fish_completes_with_descriptions(program):
    fish = ["fish", "--no-config", "-c"]
    code = """
anima-exp completion fish | source
complete -C "anima-exp train model=guanaco3"
complete -C "anima-exp train trainer.b"
"""
    done = subprocess.run([*fish, code], cwd=program, capture_output=True, text=True, check=True)
    model, key = done.stdout.splitlines()
    assert model.startswith("model=guanaco33b\tGuanaco 33B, merged by its authors")
    assert key.startswith("trainer.batch_size=\tExamples per optimizer step")


@needs("zsh")
def test_zsh_completes_in_a_terminal(program):
    setup = (
        f"autoload -Uz compinit; compinit -u -d {program}/dump; "
        "eval \"$(anima-exp completion zsh)\"; PS1=$'re\\x61dy> '"
    )
    typed = in_terminal(["zsh", "-f"], setup, "anima-exp train trainer.ba\tX")
    assert "trainer.batch_size=X" in typed
    typed = in_terminal(["zsh", "-f"], setup, "anima-exp train model=guanaco3\tX")
    assert re.search("model=guanaco33b +X", typed)  # a blank follows a whole word


def in_terminal(shell, setup, keys):
    """What stands in a terminal after `keys` were typed."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "dumb"
        os.execvp(shell[0], shell)
    try:
        os.write(terminal, f"{setup}\n".encode())
        _until(terminal, "ready> ")
        os.write(terminal, keys.encode())
        return _until(terminal, "X")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _until(terminal, text, seconds=20):
    seen, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
            plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x07\x08\r]", "", seen)
            if text in plain:
                return plain
    raise AssertionError(f"no {text!r} in {seen!r}")


def test_another_shell_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["anima-exp", "bsh"])
    assert completion_command.main() == 1
    assert capsys.readouterr().err == (
        "anima_exp: There is no completion for 'bsh'. Did you mean bash?\n"
    )
