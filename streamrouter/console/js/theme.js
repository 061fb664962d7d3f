// A classic script in the head: the chosen theme stands before the first paint. "auto" follows the system.
(() => {
  const chosen = (() => { try { return localStorage.getItem("streamrouter-theme"); } catch { return null; } })();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
