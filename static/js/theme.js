/* Light or dark, before the first paint: what was chosen here, else what the system says. A classic script on purpose. */
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: light)");
  const read = () => {
    try {
      return localStorage.getItem("meetviz:theme");
    } catch {
      return null; // storage is switched off: the system's choice holds
    }
  };
  const show = () => {
    root.dataset.theme = read() || (system.matches ? "light" : "dark");
  };
  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        const next = root.dataset.theme === "light" ? "dark" : "light";
        try {
          localStorage.setItem("meetviz:theme", next);
        } catch {
          // kept for this page only
        }
        root.dataset.theme = next;
        document.dispatchEvent(new CustomEvent("meetviz:theme"));
      });
    }
  });
})();
