"""A real browser for tests.

It is the one named in `QASHIER_TEST_BROWSER`, else a Chromium or Chrome on the PATH, else Playwright's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, Page, Request, sync_playwright

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS: Final = 10_000

CONTRAST: Final = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("no ground");
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const ratios = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    if (!text) continue;
    const element = walker.currentNode.parentElement;
    const pair = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
    ratios.push([(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), text]);
  }
  return ratios.sort((a, b) => a[0] - b[0]);
}"""
"""Evaluated in a page: the contrast ratio and the words of each text, the faintest first."""


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, until the block ends."""
    named = os.environ.get("QASHIER_TEST_BROWSER")
    path = named or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    # The sandbox of Chromium refuses to run as root, which is what containers are.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def pages(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page in a context of its own, in which nothing may go wrong or be fetched from elsewhere."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: _check_failure(request, complaints))
    page.on("request", lambda request: _check_local(request.url, complaints))
    yield page
    context.close()
    assert complaints == []


def _check_failure(request: Request, complaints: list[str]) -> None:
    # Who leaves a page ends what it was still listening to.
    if request.failure != "net::ERR_ABORTED":
        complaints.append(f"failed: {request.url}: {request.failure}")


def _check_local(url: str, complaints: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:")):
        complaints.append(f"fetched from elsewhere: {url}")
