/** The band under the picture: the last lines with who said them; what is still being said, lighter. */

import { byId, make, voiceColour } from "./dom.js";
import { t } from "./i18n.js";

const MOST_LINES = 6;
const REMEMBER = "meetviz:captions";

export class Captions {
  /**
   * @param {(caption: object) => void} onname a click on a name, or null where names cannot change
   * @param {(caption: object, yes: boolean) => void} onanswer whether an unsure line is whose it seems to be
   */
  constructor(store, onname, onanswer = null) {
    this.store = store;
    this.onname = onname;
    this.onanswer = onanswer;
    this.band = byId("captions");
    this.roll = document.querySelector(".captions__roll");
    this.lines = new Map();
    const kept = recall();
    this.size(kept.size ?? "m");
    this.show(kept.on ?? true);
    store.on("captions interims speakers people", () => this.#draw());
    this.#draw();
  }

  size(size) {
    this.band.dataset.size = size;
    this.sizeNow = size;
    remember({ size });
  }

  show(on) {
    this.on = on;
    this.band.hidden = !on;
    remember({ on });
  }

  /** Screen readers stay silent unless asked: read aloud, captions talk over the people. */
  aloud(on) {
    this.roll.setAttribute("aria-live", on ? "polite" : "off");
  }

  #draw() {
    const finals = this.store.captions.slice(-MOST_LINES).map((caption) => [caption.id, caption]);
    const interims = [...this.store.interims.values()].map((interim) => [`~${interim.stream}`, interim]);
    const wanted = [...finals, ...interims].slice(-MOST_LINES);
    if (!wanted.length) {
      this.lines.clear();
      this.roll.replaceChildren(make("p", { class: "captions__empty" }, t("captions_empty")));
      return;
    }
    const lines = wanted.map(([key, caption]) => {
      const line = key.startsWith("~") ? this.#interim(caption) : captionLine(this.store, caption, this);
      const known = this.lines.get(key);
      return [key, known?.isEqualNode(line) ? known : line]; // an unchanged line keeps its focus
    });
    this.lines = new Map(lines);
    this.roll.replaceChildren(...this.lines.values());
  }

  #interim(interim) {
    const speaker = interim.speaker?.id != null ? { ...interim.speaker, ...this.store.speaker(interim.speaker.id) } : interim.speaker;
    const stable = interim.text.slice(0, interim.stable ?? 0);
    return make(
      "p",
      { class: "line line--interim", "--voice": voiceColour(speaker) },
      make("span", { class: "line__who" }, make("span", { class: "dot" }), make("span", {}, speaker?.name ?? "…")),
      make("span", { class: "line__text" }, stable, make("span", { class: "line__loose" }, interim.text.slice(stable.length))),
    );
  }
}

/**
 * One final line or gap: name (a button where it may change), then the words in their language; before them, where the
 * voice is not sure, the question.
 */
export function captionLine(store, caption, { onname = null, onanswer = null }, extra = null) {
  if (caption.gap || caption.type === "caption.gap") {
    const lostS = ((caption.last_sample - caption.first_sample) / 16000).toFixed(0);
    return make(
      "p",
      { class: "line line--gap" },
      make("span", { class: "line__who" }),
      extra,
      make("span", { class: "line__text" }, t(caption.reason === "language_unsupported" ? "gap_language" : "gap", { n: lostS })),
    );
  }
  const speaker = store.speakerOf(caption);
  const name = speaker ? (speaker.state === "unsure" ? t("unsure_name", { name: speaker.name }) : speaker.name) : t("someone");
  // The mark by itself: a long name is cut off before it.
  const mark = speaker?.state === "unsure" ? make("span", { class: "line__mark" }, "?") : null;
  const face = [make("span", { class: "dot" }), make("span", { class: "line__name" }, speaker?.name ?? name), mark];
  const who = onname
    ? make("button", { class: "line__who", type: "button", title: t("rename", { name }), onclick: () => onname(caption) }, ...face)
    : make("span", { class: "line__who" }, ...face);
  const words = make("span", { class: "line__text", lang: caption.language || null }, caption.text);
  const asked = onanswer && speaker?.state === "unsure" && !caption.answered;
  return make(
    "p",
    { class: "line", "--voice": voiceColour(speaker) },
    who,
    extra,
    asked ? make("span", { class: "line__said" }, ...answers(caption, speaker, onanswer), words) : words,
  );
}

function answers(caption, speaker, onanswer) {
  const answer = (key, label, yes) =>
    make("button", { class: "line__answer", type: "button", "aria-label": t(label, { name: speaker.name }), onclick: () => onanswer(caption, yes) }, t(key));
  return [answer("yes", "yes_it_is", true), answer("no", "no_it_is_not", false)];
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBER)) ?? {};
  } catch {
    return {};
  }
}

function remember(values) {
  try {
    localStorage.setItem(REMEMBER, JSON.stringify({ ...recall(), ...values }));
  } catch {
    // storage is switched off: it holds for this page only
  }
}
