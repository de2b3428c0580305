"""A Chromium without a display, for tests of what a reader sees. Where there is none they are skipped, and say so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(FOUND is None, reason=f"no browser here; looked for {', '.join(NAMES)}")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--hide-scrollbars", "--disable-dev-shm-usage"),
)


def opened(address: str, profile: Path, *arguments: str) -> str:
    """What the browser prints, asked by `arguments`, of the page at an address."""
    assert FOUND is not None
    command = [FOUND, *QUIET, f"--user-data-dir={profile}", *arguments, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def evaluate(page: Path, script: str, scratch: Path, width: int = 1400) -> Any:
    """What the expression `script` (it may be a promise) says on a page of `width` pixels."""
    asked = scratch / f"asked{width}.html"
    answer = f"""<script>
(async () => {{ const found = await ({script});
  const told = document.createElement("pre");
  told.id = "told"; told.textContent = JSON.stringify(found); document.body.append(told);
}})();</script></body>"""
    asked.write_text(page.read_text().replace("</body>", answer))
    dom = opened(asked.as_uri(), scratch / "profile", f"--window-size={width},900", "--virtual-time-budget=60000", "--dump-dom")
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert told is not None, dom[-2000:]
    return json.loads(unescape(told[1]))


def printed(page: Path, scratch: Path) -> Path:
    """The page as a PDF."""
    path = scratch / "printed.pdf"
    opened(page.as_uri(), scratch / "profile", "--no-pdf-header-footer", f"--print-to-pdf={path}")
    return path
