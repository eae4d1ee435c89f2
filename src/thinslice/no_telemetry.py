"""Nothing leaves the machine: the switches of what thinslice builds on, set before it is imported.

Child processes inherit them. ONNX Runtime's wheels for Linux, from 1.31 on, look up a server of their maker and keep a
device id in the user's cache folder; `onnxruntime.disable_telemetry_events()` comes too late to stop them.
docs/privacy.md says how this is checked.
"""

import os
from typing import Final

SWITCHES: Final = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def switch_off() -> None:
    """Set the switches, whatever the environment says."""
    os.environ.update(SWITCHES)
