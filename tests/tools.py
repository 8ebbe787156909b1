"""System tools that some tests need: `make tools` installs them; without them the tests skip, in CI they fail."""

from __future__ import annotations

import os
import shutil

import pytest

_PACKAGES = {
    "adb": "adb",
    "chromium": "chromium",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-aarch64": "qemu-system-arm",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
}


def need(*tools: str) -> None:
    """Skip the test when a tool is missing; with EDGECONV_NO_SKIP=1, as in CI, fail it."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [tool for tool in tools if shutil.which(tool, path=search) is None]
    if not missing:
        return
    words = f"needs {', '.join(missing)}: make tools, or apt-get install {' '.join(_PACKAGES[t] for t in missing)}"
    if os.environ.get("EDGECONV_NO_SKIP") == "1":
        pytest.fail(words)
    pytest.skip(words)
