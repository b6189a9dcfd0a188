// Draws the page anew when the store changed. Without it, the page works all the same.
"use strict";
(() => {
  const isBegun = (node) => node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement
    ? node.type !== "hidden" && (node.value !== node.defaultValue || node.checked !== node.defaultChecked)
    : node instanceof HTMLSelectElement && [...node.options].some((each) => each.selected !== each.defaultSelected);
  const callbacks = {  // what a person has begun, ticked or unfolded stays as it is
    beforeNodeMorphed: (now) => !isBegun(now),
    beforeAttributeUpdated: (name, node) => !(name === "open" && node instanceof HTMLDetailsElement),
  };
  const fold = (root) => {  // on a phone the answers come first
    if (matchMedia("(max-width: 59.99rem)").matches)
      for (const each of root.querySelectorAll("details.fold")) each.open = false;
  };
  const root = document.currentScript.src.replace(/\/static\/.*$/, "");
  try { localStorage.setItem("pipeguard-root", root); } catch { /* doorstep.js then leads nowhere */ }
  const source = new EventSource(root + "/changes");
  let waits = false, busy = false;
  const refresh = async () => {
    if (busy) { waits = true; return; }
    busy = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" } });
      if (answer.status === 200) {  // not of an answer, whose page stays as it is
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const had = document.activeElement;
        fold(page);
        for (const id of ["main", "menu"]) {
          const now = document.getElementById(id), next = page.getElementById(id);
          if (now && next) Idiomorph.morph(now, next, { ignoreActiveValue: true, callbacks });
        }
        if (!had.isConnected) document.getElementById("main").focus({ preventScroll: true });  // what had the focus is gone
        document.title = page.title;
      }
    } finally {
      const pause = Math.min(2000, Math.max(200, 9 * (performance.now() - began)));
      setTimeout(() => { busy = false; if (waits && !document.hidden) { waits = false; refresh(); } }, pause);
    }
  };
  // While it is busy, a page also looks for the end of that, which changes nothing in the store.
  setInterval(() => { if (!document.hidden && document.querySelector("[data-again]")) refresh(); }, 10000);
  fold(document);
  const follow = () => { if (!document.hidden) refresh(); else waits = true; };
  source.onopen = source.onmessage = follow;  // what changed before it listened counts, too
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waits) { waits = false; refresh(); } });
})();
