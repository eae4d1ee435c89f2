"""The option ``--workers``: it means the same in every command that has it."""

import click

workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Clips to work on side by side, on this machine.",
)
