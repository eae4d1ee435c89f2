"""``thinslice web``: the predictor as a page in the browser."""

import os

import click


@click.command(
    epilog="""\b
Examples:
  thinslice web
  thinslice web --bundle bimodal --port 8000
"""
)
@click.option("--bundle", default="voice-words", show_default=True, help="Name or folder of a model; A+B for both.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
def web(bundle: str, port: int) -> None:
    """Serve a page on this machine to which one drops a clip and sees its report. Ctrl-C ends it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Read when Gradio is imported.
    from thinslice.web import serve

    click.echo(f"open http://127.0.0.1:{port}/ in a browser", err=True)
    serve(bundle, port)
