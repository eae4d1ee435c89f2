"""What all commands share: ``--quiet`` and ``--verbose``, and a wrong command that is told which is right."""

import difflib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from thinslice.output import Volume


class Group(click.Group):
    """A group whose commands take `--quiet` and `--verbose`, and that suggests the command that was meant."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with the options of all commands, None if there is none of that name."""
        command = self.find(ctx, cmd_name)
        if command is not None:
            add_volume(command)
        return command

    def find(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, None if there is none of that name."""
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a wrong name ends with the line that says which one was meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no command {args[0]!r}{self._meant(ctx, args)}")
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, args: list[str]) -> str:
        if ctx.parent is None and "://" in args[0]:
            return f"; thinslice reads files: download it first, then call {ctx.command_path} predict FILE"
        if ctx.parent is None and _looks_like_a_clip(args[0]):
            return f"; to score it: {ctx.command_path} predict {shlex.join(args)}"
        commands = {path[-1]: " ".join((ctx.command_path, *path)) for path in reversed(list(_paths(self, ctx)))}
        near = difflib.get_close_matches(args[0], commands, n=2)
        if not near:
            return f"; see {ctx.command_path} --help"
        return f"; did you mean {' or '.join(commands[name] for name in near)}?"


def _looks_like_a_clip(text: str) -> bool:
    return not set(text).isdisjoint("./*") or Path(text).exists()


def _paths(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, ...]]:
    """Yield the names of all commands of a group, then, as (group, name), those of the groups in it."""
    names = group.list_commands(ctx)
    yield from ((name,) for name in names)
    for name in names:
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from ((name, below) for below in command.list_commands(ctx))


def add_volume(command: click.Command) -> None:
    """Give a command the options `--quiet` and `--verbose`, once."""
    if not any(option.name == "quiet" for option in command.params):
        command.params += [
            _volume_option(["-q", "--quiet"], "Say only results, warnings and failures."),
            _volume_option(["-v", "--verbose"], "Say more: what each step did, and where an error comes from."),
        ]


def _volume_option(names: list[str], text: str) -> click.Option:
    return click.Option(names, is_flag=True, expose_value=False, callback=_set_volume, help=text)


def _set_volume(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    said = ctx.find_root().ensure_object(Volume)
    if value:
        setattr(said, str(option.name), True)
    if said.quiet and said.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other; give one")
