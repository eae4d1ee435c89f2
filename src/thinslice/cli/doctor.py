"""``thinslice doctor``: what is installed, what is missing for what, and whether predict works."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from thinslice.errors import ThinsliceError
from thinslice.output import print_json

if TYPE_CHECKING:
    from thinslice.doctor import Diagnosis, Library


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> None:
    """Report what is installed and what is missing; test predict.

    It says what each missing part is for and how to get it. It scores the first 2 s of the sample clip, opens no
    connection, and exits with 1 if something that predict needs is broken. Missing optional parts are not a fault.

    \b
    Examples:
      thinslice doctor
      thinslice doctor --json
    """
    import msgspec

    try:
        from thinslice.doctor import diagnose
    except ImportError as error:
        raise ThinsliceError(f"a library does not load ({error}); install thinslice again") from None

    found = diagnose()
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for line in _lines(found):
            click.echo(line)
    if not found.ok:
        raise SystemExit(1)


def _lines(found: "Diagnosis") -> Iterator[str]:
    yield f"thinslice {found.thinslice}, Python {found.python}, {found.platform}, processors: {found.processors}"
    yield from (f"  {name:<8} {folder}" for name, folder in found.folders.items())
    yield ""
    check = found.check
    if check.ok:
        used = " and ".join(check.used)
        yield f"predict works: {check.bundle} scored 2 s of the sample clip by {used} in {check.seconds:.1f} s"
    else:
        yield f"predict does not work: {check.problem}"
    yield from _heading("Libraries")
    yield from _library_lines(found.libraries)
    yield from _heading("Bundles")
    for bundle in found.bundles:
        inputs = ", ".join(bundle.inputs)
        yield f"  {bundle.name:<18} {bundle.problem or f'{bundle.version}; takes {inputs}'}"
    yield from _heading("Optional parts")
    for extra in found.extras:
        yield f"  {extra.name:<18} {'installed' if extra.installed else 'not installed'}; needed by {extra.needed_by}"
        if not extra.installed:
            yield from (f"      {problem}" for problem in extra.missing)
            yield f"      get it: {extra.command}"
    yield from _heading("Pretrained files")
    for asset in found.assets:
        yield f"  {asset.name:<18} {'here' if asset.installed else 'not here'}; needed by {asset.needed_by}"
        yield from (f"      {problem}" for problem in asset.problems)
        if not asset.installed:
            yield f"      get it: {asset.command}"


def _heading(text: str) -> tuple[str, str]:
    return "", click.style(text, bold=True)


def _library_lines(libraries: "tuple[Library, ...]") -> Iterator[str]:
    if not libraries:
        yield "  unknown: thinslice runs from its source and is not installed"
    for library in libraries:
        yield f"  {library.name:<18} {library.problem or library.version}"
