"""The pins with hashes are those that CI installs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pins(name: str) -> set[str]:
    """Return name==version of every line of a constraints file."""
    path = ROOT / "constraints" / name
    if not path.exists():
        pytest.skip("not on this machine: constraints, which only a clone of the repository has")
    lines = re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", path.read_text("utf-8"), re.MULTILINE)
    return {f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}" for name, version in lines}


def test_every_pin_but_torch_has_hashes() -> None:
    plain = {pin for pin in pins("ci.txt") if not pin.startswith("torch==")}
    assert pins("hashes.txt") == plain, "run: make hashes"
    text = (ROOT / "constraints" / "hashes.txt").read_text("utf-8")
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[A-Za-z])", text)[1:])
