// Keeps a page of the inspector up to date, and copies code. Without it every page works and is reloaded by hand.
"use strict";
(() => {
  const say = (text) => { document.querySelector(".said").textContent = text; };

  const prepare = () => {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // Who writes into a form, or has chosen text, is left alone until the next news.
  const isBusy = () => {
    const active = document.activeElement;
    if (active && active.matches("input:not([type=hidden]), select, textarea")) return true;
    const selection = getSelection();
    return selection !== null && !selection.isCollapsed;
  };

  let waiting = null;
  const refresh = async () => {
    waiting = null;
    if (isBusy()) { waiting = setTimeout(refresh, 1000); return; }
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = new Set([...document.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
    const focused = document.activeElement?.closest("[data-testid], a, button");
    const position = focused ? [...document.querySelectorAll("a, button, summary")].indexOf(focused) : -1;
    for (const one of fresh.querySelectorAll("details[data-key]")) one.open = open.has(one.dataset.key);
    for (const part of ["main", ".bar", ".top"]) {
      const now = document.querySelector(part), then = fresh.querySelector(part);
      if (now && then) now.replaceWith(then);
    }
    if (position >= 0) document.querySelectorAll("a, button, summary")[position]?.focus({ preventScroll: true });
    show(true);
    prepare();
  };

  const show = (isLive) => {
    const mark = document.querySelector(".live");
    if (mark) mark.hidden = !isLive;
  };

  prepare();
  const address = document.body.dataset.live;
  if (!address) return;
  const news = new EventSource(address);
  news.addEventListener("open", () => show(true));
  news.addEventListener("error", () => show(false));
  news.addEventListener("news", () => {
    if (waiting === null) waiting = setTimeout(refresh, 50);
    say("Updated");
  });
  addEventListener("pagehide", () => news.close());
})();
