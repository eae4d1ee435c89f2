"""The options ``--workers`` and ``--ray``: they mean the same in every command that has them."""

import click

workers_option = click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Clips to work on side by side, on this machine.",
)

ray_option = click.option(
    "--ray",
    "ray_address",
    metavar="ADDRESS",
    help="A Ray cluster to compute on; local starts one here.",
)
