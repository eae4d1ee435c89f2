"""``thinslice import``: trained weights of other programs, as bundles or as what a training starts from."""

import click

from thinslice.cli.group import Group
from thinslice.systems import list_systems, load_object


class _ImportGroup(Group):
    """Has a command for each import of a system, imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all imports."""
        return sorted(name for system in list_systems().values() for name in system.imports)

    def find(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return an import's command."""
        for system in list_systems().values():
            if cmd_name in system.imports:
                command: click.Command = load_object(system.imports[cmd_name])
                return command
        return None


@click.command("import", cls=_ImportGroup)
def import_() -> None:
    """Read trained weights of other programs.

    They become a bundle, or what a training starts from.

    \b
    Example:
      thinslice import bimodal "LSTMModel#440.net" "3DCNNModel#600.net" --out bimodal
    """
