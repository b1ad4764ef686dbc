/** The picture on the wall: cross-fade, backdrop, accent, and the line that says why this picture. */

import { byId, make, setText } from "./dom.js";
import { language, measured, t, wallClock } from "./i18n.js";

const FADE_MS = 800;
export const PREVIEW = /^data:image\/[a-z]+;base64,[A-Za-z0-9+/=]+$/;

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class Stage {
  /** @param {{onshown: (frameId: string) => void, onrate: (frameId: string, value: number) => void, say: Function}} options */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    this.pictures = document.querySelector(".stage__pictures");
    this.backdrop = document.querySelector(".stage__backdrop");
    this.heldId = null;
    this.currentId = null;
    this.reported = new Set();
    this.ratings = new Map();
    this.turn = Promise.resolve();
    this.preview = null;
    store.on("frames", () => this.#follow());
    store.on("frames painting", () => this.#preview());
    store.on("frames captions speakers painting interims status connection meeting", () => this.#words());
    byId("back-to-live")?.addEventListener("click", () => this.hold(null));
    for (const [id, value] of [["like", 1], ["dislike", -1]]) {
      byId(id)?.addEventListener("click", () => this.#rate(value));
    }
    document.addEventListener("meetviz:theme", () => this.#accent(this.store.frame(this.currentId)));
  }

  /** What this viewer looks at: the held picture, else the newest. */
  get wanted() {
    return (this.heldId && this.store.frame(this.heldId)) || this.store.latestFrame();
  }

  hold(frameId) {
    this.heldId = frameId && frameId !== this.store.latestFrame()?.id ? frameId : null;
    this.#follow();
    this.store.touch("frames");
  }

  /** One change of picture at a time; a picture overtaken while it loads is never faded in. */
  #follow() {
    this.turn = this.turn.then(() => this.#show(this.wanted)).catch(() => {
      this.#endPreview();
      this.options.say(t("picture_failed"), { urgent: true });
    });
  }

  async #show(frame) {
    if (!frame || frame !== this.wanted || frame.url === this.currentUrl) return;
    const better = frame.id === this.currentId; // another edition of the picture on the wall
    const picture = make("img", { alt: altOf(frame), width: frame.width, height: frame.height, decoding: "async", draggable: "false" });
    picture.src = frame.url;
    const blur = make("img", { alt: "", src: frame.thumb_url });
    const { url } = frame;
    await Promise.all([picture.decode(), blur.decode().catch(() => {})]);
    if (frame !== this.wanted || frame.url !== url) return;
    this.currentId = frame.id;
    this.currentUrl = url;
    this.preview = null; // goes with the picture before
    this.#crossFade(this.pictures, picture);
    this.#crossFade(this.backdrop, blur);
    byId("stage-empty").hidden = true;
    this.#accent(frame);
    this.#words();
    if (!better && !this.heldId && !this.reported.has(frame.id)) {
      this.reported.add(frame.id);
      requestAnimationFrame(() => this.options.onshown(frame.id));
      this.options.say(t("new_picture", { alt: altOf(frame) }));
    }
  }

  #crossFade(layer, next) {
    const before = [...layer.children];
    layer.append(next);
    next.getBoundingClientRect(); // start from transparent
    next.classList.add("is-shown");
    this.#fadeOut(before);
  }

  #fadeOut(pictures) {
    for (const old of pictures) old.classList.remove("is-shown");
    setTimeout(() => pictures.forEach((old) => old.remove()), still() ? 0 : FADE_MS);
  }

  /** The picture on its way shimmers through the one on the wall, clearer with every step; the final one fades in over it. */
  async #preview() {
    const { painting } = this.store;
    if (!painting && this.preview?.frame === this.wanted?.id) return; // its picture is about to fade in
    const url = painting?.state === "painting" && !this.heldId && !still() ? painting.preview : null;
    if (!url || !PREVIEW.test(url)) {
      this.#endPreview();
      return;
    }
    if (this.preview?.frame !== painting.id) this.#endPreview();
    this.preview ??= { frame: painting.id, image: make("img", { class: "is-preview", alt: "" }) };
    const { preview } = this;
    preview.image.src = url;
    await preview.image.decode().catch(() => {});
    if (this.preview !== preview) return;
    preview.image.style.setProperty("--clear", (painting.step / painting.steps).toFixed(2));
    if (!preview.image.isConnected) {
      this.pictures.append(preview.image);
      preview.image.getBoundingClientRect(); // start from transparent
    }
    preview.image.classList.add("is-shown");
    byId("stage-empty").hidden = true;
  }

  #endPreview() {
    if (!this.preview) return;
    this.#fadeOut([this.preview.image]);
    this.preview = null;
    this.#words();
  }

  #accent(frame) {
    // Not needed before there is a picture; without it the accent before stays.
    if (frame) import("./accent.js").then(({ accentFrom }) => accentFrom(frame.thumb_url), () => {});
  }

  #rate(value) {
    const { currentId } = this;
    if (!currentId) return;
    const next = this.ratings.get(currentId) === value ? 0 : value;
    this.ratings.set(currentId, next);
    this.options.onrate(currentId, next);
    this.#words();
  }

  #words() {
    const frame = this.store.frame(this.currentId);
    this.#empty(frame);
    if (!byId("why-text")) return;
    byId("why-actions").hidden = !frame;
    byId("back-to-live").hidden = !this.heldId;
    if (!frame) return;
    this.#why(frame);
    const rating = this.ratings.get(frame.id) ?? 0;
    byId("like").setAttribute("aria-pressed", String(rating === 1));
    byId("dislike").setAttribute("aria-pressed", String(rating === -1));
    const canRate = this.store.you?.can?.rate ?? false;
    byId("like").hidden = byId("dislike").hidden = !canRate;
    this.#details(frame);
  }

  #why(frame) {
    const { quotes, names } = quotesOf(frame, this.store);
    const line = byId("why-text");
    const key = JSON.stringify([frame.id, quotes, names, this.heldId]);
    const neutral = (frame.compromises ?? []).includes("neutral");
    if (line.dataset.key === key) return;
    line.dataset.key = key;
    const held = this.heldId ? make("span", {}, t("held_picture", { time: wallClock(this.store.paintedAt(frame)) }), " ·") : "";
    if (quotes.length) {
      const said = quotes.flatMap(({ text, language: spoken }, index) => [
        index ? " · " : "",
        make("q", { lang: spoken || null }, t("quoted", { text })),
      ]);
      const who = names.length ? make("span", {}, `— ${names.join(", ")}`) : "";
      line.replaceChildren(held, make("span", {}, t("why")), make("span", { class: "why__quotes" }, ...said), who);
    } else {
      line.replaceChildren(held, make("span", { class: "why__quotes" }, neutral ? t("gave_neutral") : frame.prompt_local || frame.prompt || altOf(frame)));
    }
    line.title = line.textContent;
  }

  #details(frame) {
    const rows = [
      [t("d_painted"), wallClock(this.store.paintedAt(frame))],
      [t("d_prompt"), frame.prompt_local || frame.prompt],
      [t("d_engine"), [frame.engine?.name, frame.engine?.model].filter(Boolean).join(" · ")],
      [t("d_seed"), frame.seed],
      [t("d_total"), frame.timings_ms?.total ? measured(frame.timings_ms.total) : ""],
      [t("d_paint"), frame.timings_ms?.painted ? measured(frame.timings_ms.painted) : ""],
    ].filter(([, value]) => value !== "" && value !== undefined && value !== null);
    byId("details-text").replaceChildren(
      make("p", {}, altOf(frame)),
      ...(frame.compromises ?? []).map(gaveUp).filter(Boolean).map((text) => make("p", { class: "hint" }, text)),
      make("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))])),
    );
  }

  /** Before the first picture the stage says what happens now and what to do. */
  #empty(frame) {
    const empty = byId("stage-empty");
    empty.hidden = Boolean(frame ?? this.preview);
    if (empty.hidden) return;
    const { painting, captions, interims, meeting, status } = this.store;
    let key = "empty_start";
    if (painting) key = "empty_painting";
    else if (meeting.paused) key = "empty_paused";
    else if (captions.some((caption) => caption.text)) key = meeting.mode === "auto" ? "empty_heard" : "empty_manual";
    else if (interims.size) key = "empty_hearing";
    if (status.engines?.speech === null) key = "empty_no_speech";
    setText(byId("stage-lead"), t(key));
    setText(byId("stage-hint"), t(`${key}_hint`));
  }
}

/** In plain words what was given up for a picture; a code of tomorrow says nothing. */
function gaveUp(code) {
  const text = t(`gave_${code}`);
  return text === `gave_${code}` ? "" : text;
}

export function altOf(frame) {
  return frame.alts?.[language] || (typeof frame.alt === "string" ? frame.alt : "") || t("picture_plain");
}

/** The quotes under a picture and whose they are, from the frame itself or from the captions at hand. */
export function quotesOf(frame, store) {
  const nameOf = (id) => store.speaker(id)?.name ?? (frame.speakers ?? []).find((speaker) => speaker.id === id)?.name;
  const said = (id) => store.captions.find((caption) => caption.id === id);
  const fromCaptions = (frame.why ?? []).map(said).filter(Boolean);
  const given = (frame.quotes ?? []).map((quote) => ({ ...quote, language: said(quote.utterance)?.language }));
  const quotes = (given.length ? given : fromCaptions)
    .filter(({ text }) => text)
    .slice(0, 2)
    .map((quote) => ({ text: quote.text, language: quote.language, name: nameOf(quote.speaker?.id ?? quote.speaker) }));
  const spoke = (frame.speakers ?? []).map((speaker) => speaker?.name ?? store.speaker(speaker)?.name);
  const names = [...new Set([...quotes.map(({ name }) => name), ...(quotes.some(({ name }) => name) ? [] : spoke)])];
  return { quotes, names: names.filter((name) => typeof name === "string" && name) };
}
