// Leads a browser that came in by the link from the bare address to the page, with its fragment.
"use strict";
try {
  const root = localStorage.getItem("pipeguard-root");
  if (root && root.startsWith(location.origin + "/")) location.replace(root + "/" + location.hash);
} catch { /* the page says what to do */ }
