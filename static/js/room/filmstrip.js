/** The last twelve pictures. A click holds one for this viewer alone; the last tile is what is being painted. */

import { byId, make } from "./dom.js";
import { duration, t, tn, wallClock } from "./i18n.js";
import { altOf, PREVIEW } from "./stage.js";

const SHOWN = 12;

export class Filmstrip {
  constructor(store, stage) {
    this.store = store;
    this.stage = stage;
    this.list = byId("filmstrip");
    this.tiles = new Map();
    this.wait = make("li");
    store.on("frames", () => this.#frames());
    store.on("painting status meeting", () => this.#waiting());
    this.#frames();
  }

  #frames() {
    const frames = this.store.readyFrames().slice(-SHOWN);
    const current = this.stage.wanted?.id;
    const atEnd = this.list.scrollLeft + this.list.clientWidth >= this.list.scrollWidth - 8;
    const tiles = frames.map((frame) => {
      if (!this.tiles.has(frame.id)) {
        const label = t("picture_at", { time: wallClock(this.store.paintedAt(frame)), alt: altOf(frame) });
        const image = make("img", { src: frame.thumb_url, alt: "", width: 96, height: 54, loading: "lazy", decoding: "async" });
        const onclick = () => this.stage.hold(frame.id);
        this.tiles.set(frame.id, make("li", {}, make("button", { class: "frame", type: "button", "aria-label": label, title: label, onclick }, image)));
      }
      const tile = this.tiles.get(frame.id);
      const button = tile.firstElementChild;
      const image = button.firstElementChild;
      if (image.getAttribute("src") !== frame.thumb_url) image.src = frame.thumb_url; // a better edition
      if (frame.id === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      return tile;
    });
    const wanted = [...tiles, this.wait];
    if (wanted.some((tile, index) => this.list.children[index] !== tile) || this.list.children.length !== wanted.length) {
      this.list.replaceChildren(...wanted);
    }
    for (const id of this.tiles.keys()) if (!frames.some((frame) => frame.id === id)) this.tiles.delete(id);
    this.#waiting();
    if (atEnd) this.list.scrollLeft = this.list.scrollWidth;
  }

  #waiting() {
    const { painting, meeting } = this.store;
    let lines = [];
    let done = 0;
    if (painting?.state === "painting") {
      lines = painting.steps ? [t("tile_painting"), t("tile_steps", painting)] : [t("tile_painting")];
      done = painting.steps ? painting.step / painting.steps : 0.1;
    } else if (painting) {
      lines = [t("tile_waiting")];
      if (painting.position > 1) lines.push(tn("tile_ahead", painting.position - 1));
      else if (painting.eta_s) lines.push(t("tile_about", { time: duration(painting.eta_s) }));
    } else if (meeting.paused) lines = [t("tile_paused")];
    const seen = PREVIEW.test(painting?.preview ?? "");
    const tile = make(
      "div",
      { class: lines.length ? "frame frame--wait" : "frame frame--ghost", "--done": done },
      ...(seen ? [] : lines).map((line) => make("span", {}, line)),
      make("span", { class: "bar" }),
    );
    if (seen) tile.style.backgroundImage = `url("${painting.preview}")`;
    if (!this.wait.firstElementChild?.isEqualNode(tile)) this.wait.replaceChildren(tile);
  }
}
