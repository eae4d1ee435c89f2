"""``thinslice web``: the predictor as a page in the browser and a service for programs."""

import os

import click

from thinslice import DEFAULT_BUNDLE
from thinslice.errors import MissingExtraError
from thinslice.output import say


@click.command(
    epilog="""\b
Examples:
  thinslice web
  thinslice web --bundle bimodal --port 8000
  thinslice web --host 0.0.0.0 --max-mb 500 --workers 4
  curl -F clip=@talk.mp4 http://127.0.0.1:7860/api/predict
"""
)
@click.option("--bundle", default=DEFAULT_BUNDLE, show_default=True, help="Name or folder of a model; A+B for both.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
@click.option("--max-mb", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Largest clip, MB.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Clips scored at once.")
@click.option("--max-seconds", type=click.IntRange(1), default=120, show_default=True, help="Longest work on a clip.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name of this server, as of a proxy.")
def web(
    bundle: str, host: str, port: int, max_mb: int, workers: int, max_seconds: int, allow_host: tuple[str, ...]
) -> None:
    """Serve a page and a service that score clips.

    The page takes clips that you drop or record; the service is POST /api/predict. Ctrl-C stops it. Uploads are deleted
    once they are scored. There is no login: anybody who can reach the address can use it.
    """
    try:
        from thinslice.web.app import ServerSettings, build_app
        from thinslice.web.guard import known_hosts
        from thinslice.web.serve import address, open_socket, run
    except ImportError:
        raise MissingExtraError("the web page", "web") from None
    from thinslice.web.bundles import offered_bundles
    from thinslice.web.folder import private_folder

    offered_bundles(bundle)  # Says at once where the bundle cannot be had.
    threads = max(1, (os.cpu_count() or 1) // workers)
    settings = ServerSettings(bundle, max_mb, workers, threads, float(max_seconds))
    with open_socket(host, port) as listener, private_folder() as folder:
        say(f"open {address(host, port)} in a browser; Ctrl-C stops the server")
        run(build_app(settings, folder, known_hosts((host, *allow_host))), listener)
