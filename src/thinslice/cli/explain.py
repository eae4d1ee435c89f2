"""``thinslice explain``: what in a clip moved its scores, as files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from thinslice import DEFAULT_BUNDLE
from thinslice.files import write_atomically
from thinslice.output import make_folder, say
from thinslice.types import Explanation

EPILOG = """\b
Examples:
  thinslice explain talk.mp4 --out why/
  thinslice explain talk.mp4 --bundle bimodal --out why/
"""


@click.command(epilog=EPILOG)
@click.argument("clip")
@click.option("--bundle", default=DEFAULT_BUNDLE, show_default=True, help="Name or folder of a model; A+B for both.")
@click.option("--transcript", metavar="TEXT_OR_FILE", help="The words spoken, or a .txt, .srt or .vtt file of them.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the files.")
def explain(clip: str, bundle: str, transcript: str | None, out: Path) -> None:
    """Write what moved the scores of a clip.

    OUT gets explanation.json, report.html and the pictures that the model looked at.

    Baseline and shares sum to each score. Shares of face, voice and words, of single words and of named voice cues, and
    heat maps of the face.
    """
    from thinslice.infer.predictor import Predictor
    from thinslice.report.html import write_report

    make_folder(out)
    predictor = Predictor(bundle)
    prediction = predictor.predict(clip, transcript=transcript)
    explanation = prediction.explanation
    if explanation is None:
        raise click.UsageError(f"bundle {bundle} cannot say what moved its scores")
    document = {**prediction.to_dict(), "explanation": _document(explanation)}
    write_atomically(out / "explanation.json", json.dumps(document, indent=1, ensure_ascii=False).encode())
    for index, picture in enumerate(explanation.pictures):
        write_atomically(out / f"picture_{index:02d}.png", picture.png)
    write_report([prediction], [], predictor.cards, out / "report.html")
    say(f"wrote {out / 'explanation.json'} and {out / 'report.html'}")


def _document(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as JSON, its pictures by file name."""
    document = dataclasses.asdict(explanation)
    document["pictures"] = [
        {"title": picture.title, "file": f"picture_{index:02d}.png"}
        for index, picture in enumerate(explanation.pictures)
    ]
    return document
