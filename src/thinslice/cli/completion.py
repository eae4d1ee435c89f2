"""What a shell completes beside commands, options and files."""

import click
from click.shell_completion import CompletionItem


def complete_bundle(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the bundles on this machine whose names begin so, and folders."""
    from thinslice.bundle import list_bundles

    start, plus, last = incomplete.rpartition("+")
    names = [CompletionItem(start + plus + name) for name in list_bundles() if name.startswith(last)]
    return names or [CompletionItem(incomplete, type="dir")]
