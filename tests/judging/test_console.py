"""Nothing is asked before somebody has agreed to how much."""

import pytest
from support.judge_files import config, two
from support.judge_server import serving

from anima_exp.errors import ConfigError
from anima_exp.judging import console as confirming
from anima_exp.judging.calls import tokens
from anima_exp.judging.run import judge

PRICES = {"price_per_million_input_tokens": 30.0, "price_per_million_output_tokens": 60.0}


@pytest.fixture
def terminal(monkeypatch):
    """What the user answers; the questions asked."""
    asked, answer = [], ["n"]

    def reply(question):
        asked.append(question)
        return answer[0]

    monkeypatch.setattr(confirming, "_in_a_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", reply)
    return asked, answer


def refused(tmp_path, url, **settings):
    with pytest.raises(ConfigError) as error:
        judge(config(tmp_path, url, **({"yes": False} | settings)))
    return str(error.value)


def test_without_a_terminal_a_limit_or_yes_must_be_given(tmp_path):
    with serving() as server:
        assert refused(tmp_path, server.url) == (
            "No call was made, because 4 calls need a confirmation. Add max_calls=4 to allow them, "
            "or yes=true."
        )
        assert server.bodies == []
        judge(config(tmp_path, server.url, yes=False, max_calls=4))
    assert len(server.bodies) == 4


def test_a_limit_holds_against_yes(tmp_path):
    with serving() as server:
        told = refused(tmp_path, server.url, yes=True, max_calls=3)
        assert (
            told == "No call was made, because 4 calls are more than max_calls=3. Raise the limit."
        )
        told = refused(tmp_path, server.url, yes=True, max_cost=0.1, **PRICES)
        assert "a cost of up to 0.28 is more than max_cost=0.1" in told
    assert server.bodies == []


@pytest.mark.parametrize(("answer", "calls"), [("y", 4), ("YES", 4), ("", 0), ("no", 0)])
def test_in_a_terminal_it_asks(tmp_path, terminal, answer, calls):
    terminal[1][0] = answer
    with serving() as server:
        if calls:
            judge(config(tmp_path, server.url, yes=False))
        else:
            assert (
                refused(tmp_path, server.url)
                == "No call was made, because the calls were not confirmed."
            )
    assert terminal[0] == ["Make these calls? [y/N] "]
    assert len(server.bodies) == calls


def test_what_is_stored_needs_no_confirmation(tmp_path, capsys):
    with serving() as server:
        judge(config(tmp_path, server.url))
        judge(config(tmp_path, server.url, yes=False))
    assert "All verdicts are stored already, so no call is needed." in capsys.readouterr().out


def test_the_table_comes_before_the_first_call(tmp_path, capsys):
    judge(config(tmp_path, "http://127.0.0.1:9/v1", dry_run=True, retries=2, **PRICES))
    out = capsys.readouterr().out
    assert "4 calls of judge-1 at http://127.0.0.1:9/v1; with retries at most 12." in out
    assert "one token per 4 letters, or per Chinese" in out
    assert "Cost: at most about 0.28, in the currency of the prices." in out
    row = next(line for line in out.splitlines() if line.startswith("alpha / beta")).split()
    assert row[3:7] == ["2", "4", "0", "4"]
    assert row[-1] == f"{4 * 1024:,}"
    assert not (tmp_path / "ratings").exists()


def test_unknown_prices_are_said_to_be_unknown(tmp_path, capsys):
    judge(config(tmp_path, None, dry_run=True))
    assert "Cost: unknown. Give price_per_million_input_tokens" in capsys.readouterr().out


def test_tokens_are_estimated_by_the_script_of_the_letters():
    assert tokens("abcdefgh") == 2
    assert tokens("abcde") == 2
    assert tokens("你好吗") == 3
    assert tokens("你好abcd") == 3
    assert tokens("") == 0


def test_a_key_must_be_there_or_a_server_that_needs_none(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert refused(tmp_path, None, yes=True).startswith(
        "There is no API key. Set it with export OPENAI_API_KEY=..., or"
    )
    with serving() as server:
        judge(config(tmp_path, server.url, files=two(tmp_path)))
    assert set(server.keys) == {"Bearer none"}


@pytest.mark.parametrize("library", ["openai", "tenacity"])
def test_a_missing_library_is_one_line(tmp_path, monkeypatch, library):
    monkeypatch.setattr("anima_exp.judging.client.find_spec", lambda name: name != library or None)
    told = refused(tmp_path, "http://127.0.0.1:9/v1")
    assert told == (
        f"judge=openai needs the {library} library, which is not installed: "
        "pip install 'anima-exp[judge]'"
    )
