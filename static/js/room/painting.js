/** The picture on its way, beside the reason of the one on the wall: how far it is, about how long yet, and a way to stop it. */

import { byId, setText } from "./dom.js";
import { duration, t } from "./i18n.js";

const LONG_S = 10;
/** What is estimated is never quite there. */
const ALMOST = 0.96;

export class Painting {
  /** @param {{cancel: (frameId: string) => void, say: Function}} options */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    this.announced = null;
    byId("cancel-painting").addEventListener("click", () => store.painting && options.cancel(store.painting.id));
    store.on("painting connection", () => this.draw());
    setInterval(() => store.painting && this.draw(), 1000);
  }

  draw() {
    const { painting, connection } = this.store;
    const shown = Boolean(painting) && connection.phase === "live";
    const box = byId("making");
    if (!shown && box.contains(document.activeElement)) byId("main").focus({ preventScroll: true });
    box.hidden = !shown;
    byId("why").classList.toggle("is-making", shown);
    if (!shown) return;
    const { done, leftS } = progress(painting, this.store.now());
    byId("why").style.setProperty("--done", done.toFixed(3));
    box.classList.toggle("is-unknown", !done);
    const steps = painting.state === "painting" && painting.steps > 1 ? t("tile_steps", { step: painting.step ?? 0, steps: painting.steps }) : "";
    const state = steps || t(painting.state === "painting" ? "tile_painting" : "tile_waiting");
    const left = leftS === null ? "" : t("tile_about", { time: duration(Math.max(1, leftS)) });
    setText(byId("making-state"), state);
    setText(byId("making-left"), left);
    this.#bar(painting, state);
    byId("cancel-painting").hidden = !this.#mayCancel(painting);
    this.#announce(painting, left);
  }

  /** For screen readers its value changes with the steps, not with every second. */
  #bar(painting, state) {
    const bar = byId("making-bar");
    if (bar.getAttribute("aria-valuetext") === state) return;
    bar.setAttribute("aria-valuetext", state);
    if (painting.steps) bar.setAttribute("aria-valuenow", Math.round((100 * (painting.step ?? 0)) / painting.steps));
    else bar.removeAttribute("aria-valuenow");
  }

  #mayCancel(painting) {
    const { you } = this.store;
    return you.role === "owner" || (you.can.paint && painting.by === you.participant);
  }

  /** Said once of a picture that somebody here waits for: because they asked, or because it takes long. */
  #announce(painting, left) {
    const waits = painting.by === this.store.you.participant || painting.eta_s > LONG_S;
    if (painting.state !== "painting" || this.announced === painting.id || !waits) return;
    this.announced = painting.id;
    this.options.say([t("next_painting"), left].filter(Boolean).join(", "));
  }
}

/** How far a picture is, 0–1 (0: nobody knows), and seconds yet or null: by the pace of its steps, else by the estimate. */
export function progress({ state, since, eta_s: eta, step = 0, steps = 0, first }, now) {
  if (state !== "painting") return { done: 0, leftS: eta ?? null };
  const went = Math.max(0, now - since);
  const byTime = eta ? Math.min(ALMOST, went / eta) : 0;
  const done = steps > 1 ? Math.max((ALMOST * step) / steps, Math.min(byTime, (ALMOST * (step + 1)) / steps)) : byTime;
  if (first && step > first.step) {
    const paceS = (first.newestAt - first.at) / (step - first.step);
    return { done, leftS: first.newestAt + paceS * (steps - step + 1) - now };
  }
  return { done, leftS: eta && eta > went ? eta - went : null };
}
