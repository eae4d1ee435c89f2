"""How much each optional part of thinslice adds to an installation.

    python benchmarks/install_sizes.py

prints megabytes of the installed files of each extra's packages that the core does not have, with what these need
themselves; measured where the extras are installed.
"""

import re
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement


def main() -> None:
    """Print one line an extra."""
    lines = [Requirement(line) for line in metadata.requires("thinslice") or []]
    core = closure(line for line in lines if line.marker is None)
    print(f"core: {megabytes(core):,.0f} MB, {len(core)} packages")
    for extra in metadata.metadata("thinslice").get_all("Provides-Extra") or []:
        wanted = [line for line in lines if line.marker and line.marker.evaluate({"extra": extra})]
        new = closure(wanted) - core
        absent = sorted(name for name in new if installed(name) is None)
        print(f"{extra}: {megabytes(new):,.0f} MB, {len(new)} packages{f', absent: {absent}' if absent else ''}")


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """Return the names of the packages that requirements bring, with those that these bring."""
    extras: dict[str, set[str]] = {}
    queue = [(normal(line.name), set(line.extras)) for line in requirements]
    while queue:
        name, asked = queue.pop()
        if name in extras and asked <= extras[name]:
            continue
        extras.setdefault(name, set()).update(asked)
        found = installed(name)
        for text in (found.requires if found else None) or []:
            line = Requirement(text)
            if line.marker is None or any(line.marker.evaluate({"extra": extra}) for extra in {"", *asked}):
                queue.append((normal(line.name), set(line.extras)))
    return set(extras)


def megabytes(names: Iterable[str]) -> float:
    """Return the size of the installed files of packages."""
    packages = [found for name in names if (found := installed(name))]
    paths = [package.locate_file(file) for package in packages for file in package.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def installed(name: str) -> metadata.Distribution | None:
    """Return an installed package, None if it is absent."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def normal(name: str) -> str:
    """Return a package's name as an index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
