/** The top line: does it listen, who is here, how old is the picture, when comes the next, and what is not as it should be. */

import { byId, setText } from "./dom.js";
import { duration, language, stopwatch, t } from "./i18n.js";
import { say } from "./notes.js";
import { seconds } from "./state.js";

/** Half a second ends an utterance and its words take one or two: up to here captions are on time. */
const LATE_S = 3;
/** Said at once: whoever speaks looks elsewhere. */
const URGENT = new Set(["no_words", "language_unsupported"]);
const names = new Intl.DisplayNames(language, { type: "language" });

export class StatusLine {
  /** @param {{listening: () => string, heldS: () => number}} options listening: on, off, watch */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    store.on("meeting people status connection painting frames captions", () => this.draw());
    setInterval(() => this.draw(), 1000);
  }

  draw() {
    this.#listening();
    setText(byId("clock"), stopwatch(this.store.now() - seconds(this.store.meeting.created_at)));
    this.#pictures();
    this.#banner();
  }

  #listening() {
    const gone = this.store.connection.phase !== "live";
    const state = gone ? "gone" : this.options.listening();
    byId("listening").dataset.state = state;
    const only = this.store.meeting.language === "auto" && this.#languages();
    setText(byId("listening-word"), t(`listening_${state}`) + (only && !gone ? ` · ${only}` : ""));
  }

  /** Those that the recogniser knows, where it does not know them all. */
  #languages() {
    return (this.store.status.engines?.speech?.languages ?? []).map((code) => names.of(code)).join(", ");
  }

  #notice({ code, message }) {
    const text = t(`notice_${code}`, { languages: this.#languages() });
    return text === `notice_${code}` ? message : text;
  }

  #pictures() {
    const { store } = this;
    const last = store.latestFrame();
    setText(byId("picture-ago"), last ? t("picture_ago", { time: duration(store.now() - store.paintedAt(last)) }) : "");
    setText(byId("picture-next"), this.#next(last));
  }

  #next(last) {
    const { painting, meeting, status } = this.store;
    if (this.store.connection.phase !== "live") return "";
    if (painting?.state === "painting") return painting.steps ? t("next_steps", painting) : t("next_painting");
    if (painting) return t("next_waiting");
    if (meeting.paused) return t("next_paused");
    if (meeting.mode === "manual") return t("next_manual");
    if (meeting.mode === "suggest") return t("next_suggest");
    const since = last ? this.store.paintedAt(last) : 0;
    const fresh = this.store.interims.size || this.store.captions.some((caption) => caption.text && seconds(caption.ended_at) > since);
    if (!fresh) return t("next_words");
    // The server's own plan, unless it is older than the last picture.
    const planned = typeof status.next_in_s === "number" && status.at > since;
    const due = planned ? status.next_in_s + status.at - this.store.now() : since + (meeting.interval ?? 12) - this.store.now();
    return t("next_in", { time: duration(Math.max(1, due)) });
  }

  #banner() {
    const { connection, status } = this.store;
    const banner = byId("banner");
    let text = "";
    if (connection.phase === "reconnecting") {
      const held = this.options.heldS();
      text = held > 0.5 ? t("lost_buffered", { n: Math.round(held) }) : t("lost");
    } else if (status.notice) text = this.#notice(status.notice);
    else if (status.lag_s > LATE_S) text = t("lagging", { n: Math.round(status.lag_s) });
    if (status.notice?.code !== this.noticed) {
      this.noticed = status.notice?.code;
      if (URGENT.has(this.noticed)) say(this.#notice(status.notice), { urgent: true });
    }
    banner.hidden = !text;
    setText(banner.lastElementChild, text ?? "");
  }
}
