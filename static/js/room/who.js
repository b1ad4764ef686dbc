/** Whose voice is it: of one line, and of everything a speaker says. One dialog, one question at a time. */

import { byId, make, setText, voiceColour } from "./dom.js";
import { t, wallClock } from "./i18n.js";
import { toast } from "./notes.js";
import { seconds } from "./state.js";

const MOST_LINES = 100; // as many as one message may name

export class WhoDialog {
  /** @param {(message: object) => boolean} send false when there is no connection */
  constructor(store, send) {
    this.store = store;
    this.send = send;
    this.dialog = byId("who-dialog");
    for (const button of this.dialog.querySelectorAll("[data-go]")) button.addEventListener("click", () => this.#show(button.dataset.go));
    this.#onSubmit("rename", () => this.#rename());
    this.#onSubmit("merge", () => this.#merge());
    this.#onSubmit("split", (form) => this.#split(form));
    this.#onSubmit("forget", () => this.#tell({ type: "speaker.forget", speaker: this.speaker.id }));
    byId("who-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#named(byId("who-name").value.trim());
    });
    byId("merge-into").addEventListener("change", () => this.#mergeText());
    this.dialog.addEventListener("close", () => {
      // The line that was pressed may have been drawn anew meanwhile.
      if (document.activeElement === document.body) byId("main").focus({ preventScroll: true });
    });
  }

  #onSubmit(step, act) {
    const form = this.dialog.querySelector(`form[data-step=${step}]`);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(form);
    });
  }

  /** Ask whose line it is: someone known, or a new name; or go on to all lines of its speaker. */
  line(caption) {
    this.caption = caption;
    this.speaker = this.store.speakerOf(caption);
    this.#open(t("who_title"));
    byId("who-name").focus();
  }

  /** What is to become of a speaker as a whole. */
  voice(speaker) {
    this.caption = null;
    this.speaker = speaker;
    this.#open(speaker.name);
    this.dialog.querySelector("[data-go]").focus();
  }

  #open(title) {
    const { caption, speaker } = this;
    this.title = title;
    byId("who-line").hidden = !caption;
    byId("who-all").hidden = !speaker;
    byId("who-all-head").hidden = !caption;
    if (speaker) setText(byId("who-all-head"), t("all_lines", { name: speaker.name }));
    if (caption) this.#line();
    this.#show("menu");
    this.dialog.showModal();
  }

  #line() {
    const { caption, speaker } = this;
    setText(byId("who-quote"), t("quoted", { text: caption.text }));
    byId("who-quote").lang = caption.language || "";
    const others = [...this.store.speakers.values()].filter(({ id }) => id !== speaker?.id || speaker.state === "unsure");
    byId("who-known").replaceChildren(
      ...others.map((other) =>
        make(
          "button",
          { class: "chip", type: "button", "--voice": voiceColour(other), onclick: () => this.#tell({ type: "caption.assign", utterance: caption.id, speaker: other.id }) },
          make("span", { class: "dot" }),
          other.name,
        ),
      ),
    );
    byId("who-name").value = "";
    setText(byId("who-hint"), t(speaker && (speaker.guest || speaker.state === "guest") ? "line_of_guest" : "line_only"));
  }

  #named(name) {
    if (!name) return;
    const known = [...this.store.speakers.values()].find((speaker) => speaker.name.toLowerCase() === name.toLowerCase());
    this.#tell({ type: "caption.assign", utterance: this.caption.id, ...(known ? { speaker: known.id } : { new_name: name }) });
  }

  #tell(message) {
    if (!this.send(message)) {
      toast(t("not_connected"));
      return;
    }
    this.dialog.close();
  }

  #show(step) {
    const before = { rename: () => this.#beforeRename(), merge: () => this.#beforeMerge(), split: () => this.#beforeSplit(), forget: () => this.#beforeForget() };
    before[step]?.();
    setText(byId("who-title"), step === "menu" ? this.title : this.speaker.name);
    for (const part of this.dialog.querySelectorAll("[data-step]")) part.hidden = part.dataset.step !== step;
    // Where nothing can be undone, a second Enter must not do it.
    const first = { menu: "[data-step=menu] [data-go]", forget: "[data-step=forget] [data-go]" }[step];
    if (this.dialog.open) this.dialog.querySelector(first ?? `[data-step=${step}] :is(input, select, button):not([disabled])`)?.focus();
  }

  #beforeRename() {
    byId("rename-name").value = this.speaker.guest || this.speaker.state === "guest" ? "" : this.speaker.name;
  }

  #rename() {
    const name = byId("rename-name").value.trim();
    if (name) this.#tell({ type: "speaker.rename", speaker: this.speaker.id, name });
  }

  #beforeMerge() {
    const others = [...this.store.speakers.values()].filter(({ id }) => id !== this.speaker.id);
    byId("merge-into").replaceChildren(...others.map((other) => make("option", { value: other.id }, other.name)));
    byId("merge-into").disabled = byId("merge-go").disabled = !others.length;
    this.#mergeText();
  }

  #mergeText() {
    const into = this.store.speaker(Number(byId("merge-into").value));
    // Of a guest and somebody with a name the name stays.
    const [gone, stays] = into?.guest && !this.store.speaker(this.speaker.id)?.guest ? [into, this.speaker] : [this.speaker, into];
    setText(byId("merge-text"), into ? t("merge_confirm", { name: gone.name, into: stays.name }) : t("merge_none"));
  }

  #merge() {
    this.#tell({ type: "speaker.merge", speaker: this.speaker.id, into: Number(byId("merge-into").value) });
  }

  #beforeSplit() {
    const own = this.store.captions.filter(({ speaker }) => speaker?.id === this.speaker.id).slice(-MOST_LINES);
    byId("split-problem").hidden = true;
    byId("split-name").value = "";
    byId("split-lines").replaceChildren(
      ...own.toReversed().map((caption) =>
        make(
          "li",
          {},
          make(
            "label",
            { class: "check" },
            make("input", { type: "checkbox", value: caption.id, checked: caption.id === this.caption?.id }),
            make("span", {}, make("span", { class: "time soft" }, wallClock(seconds(caption.started_at))), " ", make("span", { lang: caption.language || null }, caption.text)),
          ),
        ),
      ),
    );
  }

  #split(form) {
    const boxes = [...form.querySelectorAll("input[type=checkbox]")];
    const utterances = boxes.filter(({ checked }) => checked).map(({ value }) => value);
    const problem = { 0: "split_some", [boxes.length]: "split_all" }[utterances.length];
    byId("split-problem").hidden = !problem;
    if (problem) {
      setText(byId("split-problem"), t(problem));
      return;
    }
    const name = byId("split-name").value.trim();
    this.#tell({ type: "speaker.split", utterances, ...(name && { new_name: name }) });
  }

  #beforeForget() {
    setText(byId("forget-text"), t("forget_confirm", { name: this.speaker.name }));
  }
}
