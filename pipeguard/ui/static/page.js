// Draws the page anew when the store changed. Without it, the page works all the same.
"use strict";
(() => {
  const source = new EventSource("/changes");
  let waits = false, busy = false;
  const refresh = async () => {
    if (busy) { waits = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" } });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const id of ["main", "menu"]) {
          const now = document.getElementById(id), next = page.getElementById(id);
          if (now && next) Idiomorph.morph(now, next, { ignoreActiveValue: true });
        }
        document.title = page.title;
      }
    } finally {
      busy = false;
      if (waits) { waits = false; setTimeout(refresh, 200); }
    }
  };
  source.onmessage = () => { if (!document.hidden) refresh(); else waits = true; };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waits) { waits = false; refresh(); } });
})();
