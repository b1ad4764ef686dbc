/** The side: voices with their share of the talk, who spoke when, who is here, and the whole transcript. */

import { captionLine } from "./captions.js";
import { byId, icon, make, setText, voiceColour } from "./dom.js";
import { stopwatch, t, tn, wallClock } from "./i18n.js";
import { seconds } from "./state.js";

const TALK_WINDOW_S = 300;

export class People {
  /**
   * @param {{line: (caption: object) => void, voice: (speaker: object) => void,
   *   answer: (caption: object, yes: boolean) => void}} options what a press on a line's or a speaker's name does
   */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    this.#tabs();
    store.on("captions speakers people connection meeting", () => this.#draw());
    store.on("captions speakers", () => this.#transcript());
    setInterval(() => this.#talk(), 5000);
  }

  get #mayName() {
    return this.store.you?.can?.assign ?? false;
  }

  #draw() {
    const said = this.store.captions.filter((caption) => caption.speaker?.id != null);
    const talk = new Map();
    for (const caption of said) {
      const length = Math.max(0, seconds(caption.ended_at) - seconds(caption.started_at));
      talk.set(caption.speaker.id, (talk.get(caption.speaker.id) ?? 0) + length);
    }
    const most = Math.max(1, ...talk.values());
    const voices = [...this.store.speakers.values()]
      .filter((speaker) => talk.has(speaker.id))
      .sort((a, b) => talk.get(b.id) - talk.get(a.id));
    const list = voices.map((speaker) => this.#voice(speaker, talk.get(speaker.id), most));
    this.#replace(byId("voices"), list.length ? list : [make("li", { class: "soft" }, t("voices_empty"))]);
    this.#unsure(said);
    this.#talk();
    this.#present();
  }

  /** Replace only when something differs, so that focus and hover survive a redraw. */
  #replace(list, items) {
    const same = items.length === list.children.length && items.every((item, index) => item.isEqualNode(list.children[index]));
    if (!same) list.replaceChildren(...items);
  }

  #voice(speaker, talkS, most) {
    const name = make("span", {}, speaker.name);
    const who = this.#mayName
      ? make(
          "button",
          { class: "voice__name", type: "button", title: t("voice_more", { name: speaker.name }), "aria-label": t("voice_more", { name: speaker.name }), onclick: () => this.options.voice(this.store.speaker(speaker.id)) },
          name,
          icon("pen"),
        )
      : make("span", { class: "voice__name" }, name);
    return make(
      "li",
      { class: "voice", "--voice": voiceColour(speaker), "--share": (talkS / most).toFixed(3) },
      make("span", { class: "voice__face", "aria-hidden": "true" }, initial(speaker)),
      who,
      make("span", { class: "voice__time", title: t("talk_time") }, stopwatch(talkS)),
      make("span", { class: "voice__bar", "aria-hidden": "true" }, make("i")),
    );
  }

  /** The newest line whose voice is not sure, for those who do not look at the captions. */
  #unsure(said) {
    const open = this.#mayName && said.findLast((caption) => caption.speaker.state === "unsure" && !caption.answered);
    const box = byId("unsure");
    if (!open) {
      box.replaceChildren();
      return;
    }
    const { name } = this.store.speakerOf(open);
    const answer = (key, label, yes) =>
      make("button", { class: "button button--small", type: "button", "aria-label": t(label, { name }), onclick: () => this.options.answer(open, yes) }, t(key));
    this.#replace(box, [
      make(
        "div",
        { class: "ask", "data-caption": open.id },
        make("p", { class: "quote", lang: open.language || null }, t("quoted", { text: open.text })),
        make("strong", {}, t("is_it", { name })),
        answer("yes", "yes_it_is", true),
        answer("no", "no_it_is_not", false),
      ),
    ]);
  }

  #talk() {
    const from = this.store.now() - TALK_WINDOW_S;
    const segments = this.store.captions
      .filter((caption) => caption.speaker && seconds(caption.ended_at) > from)
      .map((caption) => {
        const start = Math.max(0, (seconds(caption.started_at) - from) / TALK_WINDOW_S);
        const width = Math.max(0.006, (seconds(caption.ended_at) - from) / TALK_WINDOW_S - start);
        const segment = make("i", { "--voice": voiceColour(this.store.speakerOf(caption)) });
        segment.style.left = `${(start * 100).toFixed(2)}%`;
        segment.style.width = `${(Math.min(width, 1 - start) * 100).toFixed(2)}%`;
        return segment;
      });
    this.#replace(byId("talk"), segments);
  }

  #present() {
    const here = [...this.store.people.values()].filter((person) => person.online !== false);
    setText(byId("people-count").lastElementChild, tn("people", here.length));
    this.#replace(
      byId("present"),
      here.map((person) =>
        make("li", {}, icon(person.role === "viewer" ? "eye" : "person"), person.name || t("guest"), person.id === this.store.you?.participant ? t("you_suffix") : ""),
      ),
    );
  }

  #transcript() {
    const panel = byId("panel-words");
    if (panel.hidden) return;
    const atEnd = panel.scrollTop + panel.clientHeight >= panel.scrollHeight - 40;
    byId("words").replaceChildren(
      ...this.store.captions.map((caption) =>
        make(
          "li",
          {},
          captionLine(this.store, caption, this.#mayName ? { onname: this.options.line, onanswer: this.options.answer } : {}, make("span", { class: "time" }, wallClock(seconds(caption.started_at)))),
        ),
      ),
    );
    if (!this.store.captions.length) byId("words").append(make("li", { class: "soft" }, t("words_empty")));
    if (atEnd) panel.scrollTop = panel.scrollHeight;
  }

  #tabs() {
    const tabs = [byId("tab-people"), byId("tab-words")];
    const choose = (tab) => {
      for (const other of tabs) {
        const on = other === tab;
        other.setAttribute("aria-selected", String(on));
        other.tabIndex = on ? 0 : -1;
        byId(other.getAttribute("aria-controls")).hidden = !on;
      }
      this.#transcript();
      if (tab.id === "tab-words") byId("panel-words").scrollTop = byId("panel-words").scrollHeight;
    };
    for (const tab of tabs) {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", ({ key }) => {
        if (key !== "ArrowRight" && key !== "ArrowLeft") return;
        const next = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
        choose(next);
        next.focus();
      });
    }
  }
}

function initial(speaker) {
  const number = speaker.guest ? speaker.name.match(/\d+$/) : null;
  return number ? number[0] : [...speaker.name][0]?.toUpperCase() ?? "?";
}
