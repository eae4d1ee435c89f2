"""The report as one file: a page that opens offline, without scripts, and reaches for nothing outside itself."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from thinslice.bundle import Card
from thinslice.files import write_atomically
from thinslice.types import Failure, Prediction

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).with_name("templates")


def write_report(
    predictions: Sequence[Prediction],
    failures: Sequence[Failure],
    cards: Mapping[str, Card],
    path: Path,
) -> None:
    """Write a self-contained HTML report of a run of predict.

    Args:
        predictions: scored clips; the first 50 are shown in detail, the first 1,000 in the overview.
        failures: clips that could not be scored.
        cards: bundle name -> the card of its bundle.json. A prediction by "a+b" reads the cards of a and b.
        path: file to write; its folder is made if need be.

    Raises:
        OutputError: the file cannot be written.
    """
    # A file name may hold bytes that are no UTF-8; whatever is left of them must not cost the report.
    write_atomically(path, render_report(predictions, failures, cards).encode("utf-8", "replace"))


def render_report(predictions: Sequence[Prediction], failures: Sequence[Failure], cards: Mapping[str, Card]) -> str:
    """Return the page of `write_report`; the same arguments give the same text."""
    from thinslice.report.scales import key_of
    from thinslice.report.transcript import NUM_LEVELS
    from thinslice.report.view import build_page
    from thinslice.report.wording import NOT_FOR
    from thinslice.targets import in_order
    from thinslice.traits import TARGETS

    page = build_page(predictions, failures, cards)
    keys = [key_of(name) for name in in_order((*TARGETS, *(t.name for clip in page.clips for t in clip.targets)))]
    return _template().render(page=page, not_for=NOT_FOR, keys=keys, num_levels=NUM_LEVELS)


@cache
def _template() -> "Template":
    # Imported here: --json never renders a page and must start fast.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = lambda name: escape(name).replace("_", Markup("_<wbr>"))
    return environment.get_template("report.html.j2")
