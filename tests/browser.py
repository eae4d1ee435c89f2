"""A server on a free port and a browser on its page, for the tests that need a real one."""

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def find_chromium() -> str:
    """Return the browser's program; skips the test where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    named = os.environ.get("THINSLICE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not named or not Path(named).is_file():
        pytest.skip("no Chromium on this machine (set THINSLICE_CHROMIUM)")
    return named


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a headless Chromium with a drawn camera and a beeping microphone."""
    from playwright.sync_api import sync_playwright

    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    fakes = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=switches + fakes)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def serve(app: Any) -> Iterator[str]:
    """Serve an application in a thread; yield its address."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def outside(requests: list[str], address: str) -> list[str]:
    """Return the requests that left the server's own address."""
    return [url for url in requests if not url.startswith((address, "blob:", "data:"))]
