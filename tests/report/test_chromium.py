"""Opens the report in a real browser: all text is visible, no label is cut off, also in a sandboxed frame."""

from __future__ import annotations

import json
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.report.demo_run import NASTY, build_demo_run

from bessemer.report.build import build

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROBE = """<script>
addEventListener("load", () => {
  const labels = [...document.querySelectorAll("figure > svg text")];
  const cut = label => {
    const box = label.getBoundingClientRect(), chart = label.ownerSVGElement.getBoundingClientRect();
    return box.left < chart.left - 1 || box.right > chart.right + 1 || box.bottom > chart.bottom + 1;
  };
  parent.postMessage(JSON.stringify({
    text: document.body.innerText,
    scrolled: [...document.querySelectorAll("main *")]
      .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible")
      .map(e => e.textContent.slice(0, 80)),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    labels: labels.length,
    invisible: labels.filter(label => label.getBoundingClientRect().width < 1).length,
    cut: labels.filter(cut).map(label => label.textContent),
  }), "*");
});
</script></body>"""
LISTENER = """<pre id="found"></pre><script>
addEventListener("message", event => { document.getElementById("found").textContent = event.data; });
</script>"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`chromium(page, *options)` opens a page without a window and returns the browser's standard output."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed; to run this test: `apt-get install chromium`")
    profile = tmp_path_factory.mktemp("profile")

    def run(page: Path, *options: str) -> str:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"]
        command += [f"--user-data-dir={profile}", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(build_demo_run(tmp_path_factory.mktemp("runs"), rename={"evaluate": "evaluate_on_held_out_documents"}))


@pytest.mark.parametrize(("width", "sandbox"), [(1400, 'sandbox="allow-scripts"'), (500, "")])
def test_everything_is_visible(chromium: Any, report: str, tmp_path: Path, width: int, sandbox: str) -> None:
    """MLflow shows HTML in a frame with this sandbox. The script belongs to the test; the report has none."""
    probed = escape(report.replace("</body>", PROBE))
    style = f"border:0;width:{width}px;height:2400px"
    page = tmp_path / "page.html"
    page.write_text(f'<!doctype html>{LISTENER}<iframe style="{style}" {sandbox} srcdoc="{probed}"></iframe>')
    message = ""
    for budget in (4_000, 20_000, *[60_000] * 4):  # a browser on a busy machine may print before the message arrives
        printed = chromium(page, "--dump-dom", f"--virtual-time-budget={budget}")
        message = unescape(printed.split('<pre id="found">')[1].split("</pre>")[0])
        if message:
            break
    found = json.loads(message)
    for said in ("quickstart", "874 out, 247 removed", "Bits per byte on held-out text", "0.394 ± 0.022", NASTY):
        assert said in found["text"]
    assert found["labels"] > 80
    assert found["invisible"] == 0
    assert found["cut"] == []
    assert found["overflow"] <= 0, "the page does not scroll sideways"
    assert found["scrolled"] == [], "no table and no chart is cut"


@pytest.mark.parametrize("dark", [False, True])
def test_there_is_something_to_see_in_light_and_dark(chromium: Any, report: str, tmp_path: Path, dark: bool) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(report)
    options = ["--force-dark-mode", "--enable-features=WebUIDarkMode"] if dark else []
    chromium(page, f"--screenshot={picture}", "--window-size=1180,2400", *options)
    colours = Image.open(picture).convert("RGB").getcolors(1 << 20)
    assert len(colours) > 100
    count, paper = max(colours)
    assert count < 0.97 * 1180 * 2400
    assert (sum(paper) < 3 * 60) == dark
