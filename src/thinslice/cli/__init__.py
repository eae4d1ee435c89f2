"""The command line. Each command lives in its own module and is imported only when called."""

import importlib
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import click

from thinslice import __version__
from thinslice.assets.folders import matplotlib_dir
from thinslice.cli.group import Group, add_volume
from thinslice.cli.supervise import supervise, tell_crash
from thinslice.errors import ThinsliceError, one_line
from thinslice.output import Volume, detail, prepare_streams, warn

COMMANDS = {
    "predict": "thinslice.cli.predict:predict",
    "evaluate": "thinslice.cli.evaluate:evaluate",
    "calibrate": "thinslice.cli.calibrate:calibrate",
    "adapt": "thinslice.cli.adapt:adapt",
    "groups": "thinslice.cli.groups:groups",
    "votes": "thinslice.cli.votes:votes",
    "audit": "thinslice.cli.audit:audit",
    "data": "thinslice.cli.data:data",
    "systems": "thinslice.cli.systems:systems",
    "extract": "thinslice.cli.extract:extract",
    "train": "thinslice.cli.train:train",
    "table": "thinslice.cli.table:table",
    "benchmark": "thinslice.cli.benchmark:benchmark",
    "figures": "thinslice.cli.figures:figures",
    "export": "thinslice.cli.export:export",
    "explain": "thinslice.cli.explain:explain",
    "assets": "thinslice.cli.assets:assets",
    "doctor": "thinslice.cli.doctor:doctor",
    "conform": "thinslice.cli.conform:conform",
    "import": "thinslice.cli.import_:import_",
    "rate": "thinslice.cli.rate:rate",
    "web": "thinslice.cli.web:web",
}


SUPERVISED = ("predict", "explain")
"""Commands that decode in the program's own process where there is a single clip."""


GO_ON = (["extract"], ["table"], ["data", "planted"], ["data", "verify"], ["assets", "get"])
"""Commands that continue, when they are called again, where they were interrupted."""


class LazyGroup(Group):
    """Imports a command's module when it is called, so that predict starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands in the order of the table above, then those of single systems."""
        return [*COMMANDS, *_commands_of_systems()]

    def find(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, importing it."""
        where = COMMANDS.get(cmd_name) or _commands_of_systems().get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and remember them for the line that says how to continue."""
        if "" in args:  # As a path it would be the folder that one is in.
            raise click.UsageError("an argument is empty; name a file, or leave it out. Is a variable not set?")
        ctx.meta["thinslice.arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C ends it with 130 and the line that says how to continue."""
        detail(f"thinslice {__version__}, Python {platform.python_version()}, {platform.platform()}")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            warn(f"\ninterrupted; {how_to_go_on(ctx.meta['thinslice.arguments'])}")
            ctx.exit(130)


def _commands_of_systems() -> dict[str, str]:
    from thinslice.systems import list_systems

    return {name: where for system in list_systems().values() for name, where in system.commands.items()}


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="thinslice")
def cli() -> None:
    """Apparent personality from short videos: predict, train, audit.

    \b
    Example:
      thinslice predict talk.mp4 --out report/
    """


add_volume(cli)


def how_to_go_on(arguments: Sequence[str]) -> str:
    """Return the line for a call that Ctrl-C ended: whether its work is kept, and what continues it."""
    words = [word for word in arguments if not word.startswith("-")]
    command = words[0] if words else ""
    call = shlex.join(["thinslice", *arguments])
    if command == "train":
        return f"continue with: {call}{'' if '--resume' in arguments else ' --resume'}"
    if any(words[: len(names)] == names for names in GO_ON) or (command == "predict" and "--out" in arguments):
        return f"finished work is kept; the same call continues where this one stopped: {call}"
    if command == "predict":
        return "nothing is kept; with --out DIR the same call would continue where it stopped"
    return f"nothing is kept; start again with: {call}"


def _supervise(arguments: Sequence[str]) -> None:
    """Let a command that decodes strangers' files in its own process crash without a trace of that."""
    place = next((index for index, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    if arguments[place : place + 1] and arguments[place] in SUPERVISED:
        supervise(partial(tell_crash, arguments[place + 1 :]))


def main() -> None:
    """Run the command line: what the user got wrong is one line on stderr and exit code 2."""
    prepare_streams()
    _supervise(sys.argv[1:])
    # matplotlib's font list belongs into our cache, where the command that deletes it finds it.
    os.environ.setdefault("MPLCONFIGDIR", str(matplotlib_dir()))
    said = Volume()
    try:
        cli(prog_name="thinslice", obj=said)
    except ThinsliceError as error:
        if said.verbose:
            traceback.print_exc()
        _end(str(error), 2)
    except MemoryError:
        _end("not enough memory; process less at once, or use a machine with more memory", 1)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing more to say, and no traceback at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else "output: "
        _end(f"{where}{error.strerror or error}", 1)


def _end(line: str, code: int) -> NoReturn:
    warn(f"thinslice: {one_line(line)}")
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no traceback at exit
    sys.exit(code)
