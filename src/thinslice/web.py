"""The predictor as a web page on this machine: a clip in, its report out."""

import html
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thinslice.errors import MissingExtraError, ThinsliceError
from thinslice.infer.predictor import Predictor
from thinslice.report.html import render_report

KEEP_S = 600
"""How long an uploaded clip stays on disk, seconds; faces and voices are personal data."""


def score_clip(predictor: Predictor, clip: str | None, words: str) -> str:
    """Return the report of a clip as a page within a page, or one line on why there is none.

    Args:
        predictor: what scores it.
        clip: path of the media file; None where none was chosen.
        words: what is said in it; "" where that is not known.
    """
    if not clip:
        return "Choose a video or a sound file first."
    try:
        with TemporaryDirectory() as folder:
            transcript = None
            if words.strip():
                # As a file: words that look like a file's name must not be read as one.
                transcript = Path(folder) / "words.txt"
                transcript.write_text(words, "utf-8")
            prediction = predictor.predict(clip, transcript=transcript)
    except ThinsliceError as error:
        return html.escape(str(error).replace(clip, Path(clip).name))
    page = html.escape(render_report([prediction], [], predictor.cards))
    return f'<iframe sandbox srcdoc="{page}" style="width: 100%; height: 85vh; border: 0"></iframe>'


def build_page(predictor: Predictor) -> Any:
    """Return the page as Gradio's Blocks; MissingExtraError where Gradio is not installed."""
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("the web page", "web") from None

    with gradio.Blocks(title="thinslice", analytics_enabled=False, delete_cache=(KEEP_S, KEEP_S)) as blocks:
        gradio.Markdown(
            "# thinslice\nHow strangers would judge the personality of the person in a clip. It is not a personality "
            "test, and not for decisions about people. Nothing leaves this machine."
        )
        with gradio.Row():
            clip = gradio.File(label="A video or a sound file", type="filepath")
            words = gradio.Textbox(label="What is said in it, if you know", lines=5)
        button = gradio.Button("Predict", variant="primary")
        report = gradio.HTML()
        button.click(lambda path, text: score_clip(predictor, path, text), [clip, words], report)
    return blocks


def serve(bundle: str, port: int) -> None:
    """Serve the page to this machine alone, until interrupted.

    Args:
        bundle: as in `Predictor`.
        port: where to listen.

    Raises:
        MissingExtraError: Gradio is not installed.
        BundleError: a bundle is missing or damaged.
    """
    page = build_page(Predictor(bundle))
    from gradio.themes import Base

    # Fonts that are on the machine: Gradio's own theme fetches its from outside.
    theme = Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    page.launch(server_name="127.0.0.1", server_port=port, theme=theme, footer_links=[], quiet=True)
