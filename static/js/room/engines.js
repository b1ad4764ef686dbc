/** Demo engines: which they are, what the real ones cost, and fetching them here. Nobody else's view is disturbed. */

import { byId, make, setText } from "./dom.js";
import { t } from "./i18n.js";
import { say, toast } from "./notes.js";

/** Where the owner accepts licences and picks a painter. */
const PAINTERS = "/admin/generation/painterchoice/";
/** A host tells how far it is within some seconds; if none does, the button comes back. */
const ANSWER_WITHIN_MS = 8_000;
const PROBLEMS = new Set(["offline", "damaged", "disk_full", "refused"]);

/** 148 MB or 7.4 GB, in the page's language. */
function size(bytes) {
  const large = bytes >= 995e6;
  const unit = { style: "unit", unit: large ? "gigabyte" : "megabyte", maximumFractionDigits: large ? 1 : 0 };
  return Math.max(large ? 0 : 1, bytes / (large ? 1e9 : 1e6)).toLocaleString(document.documentElement.lang, unit);
}

export class Engines {
  /** @param {{fetch: () => boolean}} options fetch: asks for it; false when there is no connection */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    this.asked = false;
    this.failedBefore = false;
    this.demoBefore = new Set();
    store.on("status meeting connection", () => this.draw());
  }

  get #models() {
    return this.store.status.models ?? {};
  }

  draw() {
    const engines = Object.entries(this.store.status.engines ?? {}).filter(([, engine]) => engine);
    const demo = engines.filter(([, engine]) => engine.demo);
    const fetching = this.#models.fetching;
    byId("demo-pill").hidden = !demo.length;
    const share = fetching && fetching.state !== "failed" && fetching.state !== "done" ? percent(fetching) : "";
    const hears = demo.some(([role]) => role !== "paint");
    setText(byId("demo-pill").lastElementChild, [t(hears ? "demo_pill" : "demo_pill_paint"), share].filter(Boolean).join(" · "));
    this.#news(engines);
    // A failure that was there before the press is no answer to it.
    if (fetching && !(this.failedBefore && fetching.state === "failed")) this.asked = this.failedBefore = false;
    this.#list(demo);
    this.#offer(fetching);
  }

  /** An engine that was a demo and is none any more: said once. */
  #news(engines) {
    const real = engines.some(([role, engine]) => !engine.demo && this.demoBefore.has(role));
    this.demoBefore = new Set(engines.filter(([, engine]) => engine.demo).map(([role]) => role));
    if (real) toast(t("real_engines"));
  }

  #list(demo) {
    const key = demo.map(([role, engine]) => `${role}:${engine.name}`).join();
    const box = byId("demo-text");
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(
      make("p", {}, t("demo_lead")),
      make("dl", { class: "facts" }, ...demo.flatMap(([role, engine]) => [make("dt", {}, t(`engine_${role}`)), make("dd", {}, `${engine.name} — ${t(`demo_${role}`)}`)])),
    );
  }

  /** Redrawn only when it says something else, so that the button keeps its focus while numbers run. */
  #offer(fetching) {
    const all = this.#models.offers ?? [];
    const offers = all.filter((offer) => !offer.licence);
    const locked = all.filter((offer) => offer.licence);
    const may = this.store.you?.can?.fetch_models;
    const step = this.#step(offers, fetching, may);
    const box = byId("demo-fetch");
    const key = JSON.stringify([step, fetching?.error, may, all.map(({ model, licence }) => [model, licence])]);
    if (box.dataset.key !== key) {
      box.dataset.key = key;
      const held = box.contains(document.activeElement);
      box.replaceChildren(...this.#parts(step, offers, fetching), ...(may && step !== "fetching" ? locked.map(licenceHint) : []));
      if (held) (box.querySelector("button") ?? byId("demo-note")).focus();
    }
    if (step === "fetching") this.#progress(box, fetching);
  }

  #step(offers, fetching, may) {
    if (fetching?.state === "fetching" || fetching?.state === "checking") return "fetching";
    if (fetching?.state === "done") return "done";
    if (!offers.length) return "nothing";
    if (!may) return "owner";
    if (this.asked) return "asked";
    return fetching?.state === "failed" ? "failed" : "offer";
  }

  #parts(step, offers, fetching) {
    const bytes = offers.reduce((sum, offer) => sum + offer.size_bytes, 0);
    const button = (text) => make("button", { class: "button button--accent", type: "button", onclick: () => this.#fetch() }, text);
    switch (step) {
      case "owner":
        return [make("p", { class: "hint" }, t("demo_owner"))];
      case "offer":
        return [make("p", { class: "hint" }, t(offers.every(({ role }) => role === "paint") ? "fetch_lead_paint" : "fetch_lead")), button(t("fetch", { n: size(bytes) }))];
      case "asked":
        return [make("p", { class: "hint" }, t("fetch_asked"))];
      case "fetching":
        return [make("p", { class: "fetch__text" }), make("progress", { class: "fetch__bar", "aria-label": t("fetch_label") })];
      case "done":
        return [make("p", {}, t("fetch_done"))];
      case "failed":
        return [
          make("p", { class: "fetch__problem", role: "alert" }, this.#problem(fetching)),
          make("p", { class: "hint" }, t("fetch_meanwhile")),
          button(t("fetch_again")),
          make("p", { class: "hint" }, t("fetch_by_hand")),
          make("code", { class: "fetch__command" }, `manage.py models pull ${offers.map(({ model }) => model).join(" ")}`),
        ];
      default:
        return [];
    }
  }

  #problem(fetching) {
    const missing = fetching.total_bytes - fetching.done_bytes;
    return t(PROBLEMS.has(fetching.error) ? `fetch_${fetching.error}` : "fetch_failed", { n: size(missing) });
  }

  #progress(box, fetching) {
    const checking = fetching.state === "checking";
    const numbers = { model: fetching.model, done: size(fetching.done_bytes), total: size(fetching.total_bytes) };
    setText(box.querySelector(".fetch__text"), checking ? t("fetch_checking") : t("fetching", numbers));
    const bar = box.querySelector("progress");
    bar.max = fetching.total_bytes || 1;
    bar.value = fetching.done_bytes;
  }

  #fetch() {
    if (!this.options.fetch()) {
      toast(t("not_connected"));
      return;
    }
    this.asked = true;
    this.failedBefore = this.#models.fetching?.state === "failed";
    say(t("fetch_asked"));
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.asked = this.failedBefore = false;
      this.draw();
    }, ANSWER_WITHIN_MS);
    this.draw();
  }
}

function licenceHint({ model, licence }) {
  return make("p", { class: "hint" }, t("fetch_licence", { model, licence }), " ", make("a", { href: PAINTERS }, t("fetch_licence_link")));
}

function percent({ done_bytes: done, total_bytes: total }) {
  return total ? `${Math.floor((100 * done) / total)} %` : "";
}
