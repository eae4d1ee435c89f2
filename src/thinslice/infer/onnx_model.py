"""A bundle's ONNX graph on ONNX Runtime, within bounds: a graph from a stranger may loop or ask for any memory."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from thinslice.errors import BundleError, first_line

MAX_RUN_S = 600.0
"""A graph that takes longer for one clip is stopped, seconds. One that never ends is stopped all the same."""

MAX_MEMORY_BYTES = 6 * 2**30
"""Memory that all graphs of a process may take together; the largest published system needs under 1 GB."""

_FATAL = 4
"""ONNX Runtime's level of messages that are printed; errors are told by exceptions."""


class OnnxModel:
    """Runs ``model.onnx``: named arrays in, scores out.

    The graph's input names are the bundle's input names; its first output is (outputs,) or (1, outputs) in [0, 1].

    Args:
        folder: the bundle's.
        threads: how many processors it may use; all if None.

    Raises:
        BundleError: the graph is damaged.

    Attributes:
        inputs: names of the graph's inputs.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        # Imported here: voice-words runs on NumPy and must not pay for it.
        import onnxruntime

        self._path = folder / "model.onnx"
        _bound_memory()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.use_env_allocators", "1")
        with self._telling("ONNX Runtime cannot load it"):
            self._session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self._session.get_inputs()]

    def predict(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the scores, shape (outputs,), float64, clipped to [0, 1].

        Raises:
            BundleError: the graph fails, or takes more than `MAX_RUN_S` or `MAX_MEMORY_BYTES`.
        """
        import onnxruntime

        feed = {name: features[name] for name in self.inputs}
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        timer = threading.Timer(MAX_RUN_S, lambda: setattr(options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            with self._telling("ONNX Runtime cannot run it on this clip"):
                (scores, *_) = self._session.run(None, feed, options)
        finally:
            timer.cancel()
        if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f":
            raise BundleError(f"{self._path}: its first output is no array of floats; export or install it again")
        # Infinite scores are refused as NaN is, not clipped.
        return np.where(np.isfinite(scores), np.clip(scores, 0.0, 1.0), np.nan).astype(np.float64).reshape(-1)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Make one line of whatever ONNX Runtime raises: it has many types of its own, all meaning: unusable graph."""
        try:
            yield
        except Exception as error:
            reason = first_line(error)
            if "terminate flag" in reason:
                reason = f"it took over {MAX_RUN_S:g} s"
            if "Available memory" in reason:
                reason = f"it asked for over {MAX_MEMORY_BYTES / 2**30:g} GB"
            raise BundleError(f"{self._path}: {what} ({reason}); export or install the bundle again") from None


@lru_cache(maxsize=1)
def _bound_memory() -> None:
    """Let all sessions of this process that say so share one allocator, which refuses beyond its bound."""
    import onnxruntime

    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({"max_mem": MAX_MEMORY_BYTES}))
