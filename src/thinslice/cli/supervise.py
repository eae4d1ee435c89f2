"""A crash of native code, in a decoder or a network's runtime, ends in one line instead of a dead program.

The program forks as its first deed, before a library has threads or memory that a fork would copy: the child does the
work, the parent waits for it, passes signals on and says how it ended. That costs some milliseconds. Windows has no
fork: there the work is done without a parent.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence


def supervise(on_crash: Callable[[str], None]) -> None:
    """Return in a child process that does the rest of the program; the parent exits as the child does.

    Args:
        on_crash: in the parent, told what ended a child that crashed, for a person; it may exit with its own code.
    """
    if not hasattr(os, "fork"):
        return
    # Blocked before the fork, so that none is lost between it and the first wait.
    heard = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        from thinslice.processes import end_with_parent

        end_with_parent(parent)
        return
    status = _wait(pid, heard)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if number in heard:  # Somebody ended it: end likewise.
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.kill(os.getpid(), number)
    on_crash(_name(number))
    sys.exit(1)


def _wait(pid: int, heard: set[signal.Signals]) -> int:
    """Pass signals on to a child until it ends; return how it did, as `os.waitpid`."""
    while True:
        number, is_for_us = _next_signal(heard)
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
        elif is_for_us:
            os.kill(pid, number)


def _next_signal(heard: set[signal.Signals]) -> tuple[int, bool]:
    """Return the next signal, and whether it was sent to this process alone: a terminal's go to the child, too."""
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(heard)
        return info.si_signo, info.si_code <= 0  # 0 and below: sent by a process, not by the kernel
    number = signal.sigwait(heard)
    return number, number != signal.SIGINT


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def tell_crash(rest: Sequence[str], ended_by: str) -> None:
    """Say in one line, and for `--json` in the document, that `predict` or `explain` crashed.

    Args:
        rest: what stood after the command's name.
        ended_by: name of the signal.
    """
    from thinslice.cli.predict import predict
    from thinslice.errors import printable
    from thinslice.output import print_json, warn
    from thinslice.types import Failure

    given = predict.make_context("predict", list(rest), resilient_parsing=True).params
    clips = [printable(clip) for clip in given.get("clips") or ()]
    what = ", ".join(clips[:3]) + (" ..." if len(clips) > 3 else "")
    died = f"the process that scored it died ({ended_by}): out of memory, or a crash in a decoder"
    if given.get("as_json"):
        print_json([Failure(clip, f"{clip}: {died}").to_dict() for clip in clips])
    warn(f"failed: {what}: {died}")
