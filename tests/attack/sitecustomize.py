"""Put on PYTHONPATH by the tests: clips of some names end, or hold up, the process that reads them."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def _sabotage() -> None:
    from thinslice.infer.predictor import Predictor
    from thinslice.media.source import Source

    predict, audio = Predictor.predict, Source.audio

    def audio_or_die(self: Source, *arguments: Any, **options: Any) -> Any:
        if self.path.name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return audio(self, *arguments, **options)

    def predict_or_die(self: Predictor, path: Any, **options: Any) -> Any:
        name = os.path.basename(str(path))
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("slow"):
            Path(f"{path}.asleep").touch()
            time.sleep(600)
        return predict(self, path, **options)

    Predictor.predict = predict_or_die  # type: ignore[method-assign]
    Source.audio = audio_or_die  # type: ignore[method-assign]


if os.environ.get("THINSLICE_SABOTAGE") and "multiprocessing.resource_tracker" not in " ".join(sys.orig_argv):
    _sabotage()
