"""What it costs that `thinslice predict` runs in a child process: the same calls with and without it, in turn.

python benchmarks/supervise.py CLIP [--calls 10]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

CODE = """
import sys
import thinslice.cli as command_line
if sys.argv[1] == "without":
    command_line.SUPERVISED = ()
sys.argv = ["thinslice", "predict", sys.argv[2], "--bundle", "voice-words", "--json"]
command_line.main()
"""


def call(how: str, clip: str) -> tuple[float, float]:
    """Return wall and processor seconds of one call."""
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", CODE, how, clip], capture_output=True, check=True)
    wall_s, after = time.perf_counter() - began, os.times()
    return wall_s, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--calls", type=int, default=10)
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    for number in range(arguments.calls):
        for how in sorted(found, reverse=number % 2 == 1):
            found[how].append(call(how, arguments.clip))
    for how, figures in found.items():
        wall, processor = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{how} a child process: wall {wall:.3f} s, processor {processor:.3f} s (medians of {len(figures)})")


if __name__ == "__main__":
    main()
