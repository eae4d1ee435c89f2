"""A lock on an open file, which the system ends with the process that has it, even a killed one."""

import os


def try_lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file for as long as it is open; return False where another process has it.

    Args:
        descriptor: of a file that is open for writing.
        wait: whether to wait until it is free.
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
