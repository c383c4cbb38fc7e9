"""Let a judge compare the answers of several models, pair by pair and in both orders.

anima-exp judge answers=[a.jsonl,b.jsonl] judge_model=gpt-4 dry_run=true
anima-exp judge answers=[a.jsonl,b.jsonl] judge=reference
"""

from anima_exp.cli.compose import run_command
from anima_exp.config.commands import JudgeConfig


def judge(config: JudgeConfig) -> None:
    """Let the judge compare all answers, and print the result."""
    from anima_exp.judging.run import judge

    judge(config)


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(judge, schema=JudgeConfig, config_name="judge")


if __name__ == "__main__":
    main()
