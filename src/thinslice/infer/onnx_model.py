"""A bundle's ONNX graph on ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thinslice.errors import BundleError


class OnnxModel:
    """Runs ``model.onnx``: named arrays in, scores out.

    The graph's input names are the bundle's input names; its first output is (outputs,) or (1, outputs) in [0, 1].
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        # Imported here: voice-words runs on NumPy and must not pay for it.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many types of its own, all meaning: unusable graph
            reason = str(error).splitlines()[0]
            raise BundleError(f"{folder / 'model.onnx'}: ONNX Runtime cannot load it ({reason})") from None
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def predict(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the scores, shape (outputs,), float64, clipped to [0, 1]."""
        feed = {name: features[name] for name in self._inputs}
        (scores, *_) = self._session.run(None, feed)
        return np.clip(np.asarray(scores, dtype=np.float64).reshape(-1), 0.0, 1.0)
