/** What the room says of itself: one polite line for screen readers, and toasts that tell what to do. */

import { byId, icon, make } from "./dom.js";
import { t } from "./i18n.js";

const QUIET_MS = 10_000;
const TOAST_MS = 9_000;
const MOST_TOASTS = 3;

let pending = null;
let timer = null;
let saidAt = -QUIET_MS;

/** At most one announcement in ten seconds, the newest wins; `urgent` does not wait. */
export function say(text, { urgent = false } = {}) {
  pending = text;
  const wait = urgent ? 0 : Math.max(0, saidAt + QUIET_MS - performance.now());
  clearTimeout(timer);
  timer = setTimeout(() => {
    saidAt = performance.now();
    byId("announce").textContent = pending;
  }, wait);
}

/**
 * @param {string} text for a person, with what to do
 * @param {{label: string, run: () => void}=} action
 */
export function toast(text, action = null) {
  const box = byId("toasts");
  const close = () => note.remove();
  const note = make(
    "div",
    { class: "toast" },
    icon("warning"),
    make("p", {}, text),
    action &&
      make("button", { class: "button button--small", type: "button", onclick: () => (close(), action.run()) }, action.label),
    make("button", { class: "button button--icon button--small button--quiet", type: "button", title: t("close"), "aria-label": t("close"), onclick: close }, icon("close")),
  );
  for (const old of [...box.children]) if (old.querySelector("p").textContent === text) old.remove();
  box.append(note);
  while (box.children.length > MOST_TOASTS) box.firstElementChild.remove();
  let left = setTimeout(close, TOAST_MS);
  note.addEventListener("pointerenter", () => clearTimeout(left));
  note.addEventListener("focusin", () => clearTimeout(left));
  note.addEventListener("pointerleave", () => (left = setTimeout(close, TOAST_MS)));
  say(text, { urgent: true });
}
