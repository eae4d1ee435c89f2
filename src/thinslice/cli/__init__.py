"""The command line. Each command lives in its own module and is imported only when called."""

import importlib
import os
import sys

import click

from thinslice import __version__
from thinslice.errors import ThinsliceError

COMMANDS = {
    "predict": "thinslice.cli.predict:predict",
    "evaluate": "thinslice.cli.evaluate:evaluate",
    "calibrate": "thinslice.cli.calibrate:calibrate",
    "groups": "thinslice.cli.groups:groups",
    "votes": "thinslice.cli.votes:votes",
    "audit": "thinslice.cli.audit:audit",
    "data": "thinslice.cli.data:data",
    "systems": "thinslice.cli.systems:systems",
    "extract": "thinslice.cli.extract:extract",
    "train": "thinslice.cli.train:train",
    "table": "thinslice.cli.table:table",
    "export": "thinslice.cli.export:export",
    "explain": "thinslice.cli.explain:explain",
    "emotion": "thinslice.cli.emotion:emotion",
    "assets": "thinslice.cli.assets:assets",
    "import": "thinslice.cli.import_:import_",
    "rate": "thinslice.cli.rate:rate",
    "web": "thinslice.cli.web:web",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that predict starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing it."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="thinslice")
def cli() -> None:
    """Apparent personality from short videos: predict, train, audit.

    \b
    Example:
      thinslice predict talk.mp4 --out report/
    """


def main() -> None:
    """Run the command line: what the user got wrong is one line on stderr and exit code 2."""
    try:
        cli(prog_name="thinslice")
    except ThinsliceError as error:
        click.echo(f"thinslice: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing more to say, and no traceback at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
