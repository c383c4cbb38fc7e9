"""Upload an adapter or a model to the Hugging Face hub. Nothing is sent without confirm=true.

anima-exp publish run=runs/NAME push=user/name
anima-exp publish folder=FOLDER push=user/name private=false confirm=true
"""

from anima_exp.cli.compose import run_command
from anima_exp.config.commands import PublishConfig
from anima_exp.publishing.secrets import refuse_in_arguments


def publish(config: PublishConfig) -> None:
    """Upload a run, an adapter or a model, or print what would be uploaded."""
    from anima_exp.publishing import upload

    upload.of_config(config)


def main() -> None:
    """Run the command with the arguments of `sys.argv`."""
    run_command(publish, schema=PublishConfig, config_name="publish", expand=refuse_in_arguments)


if __name__ == "__main__":
    main()
