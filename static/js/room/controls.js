/** The bottom bar, its keys, and what hides behind "more". */

import { byId, setText } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./notes.js";

const KEYS_OFF = "meetviz:keys-off";
const PHONE = "(max-width: 860px)";

export class Controls {
  /**
   * @param {{send: (message: object) => boolean, microphone: () => void, source: () => void, captions: object,
   *   inviteUrl: string}} options
   */
  constructor(store, options) {
    this.store = store;
    this.options = options;
    this.#bar();
    this.#more();
    this.#invite();
    this.#keys();
    this.#layout();
    store.on("meeting connection painting", () => this.draw());
  }

  /** How the microphone button looks: on, off or watch; and the name of the source. */
  sound(state, name) {
    const button = byId("mic");
    const label = t({ on: "mic_off_label", off: "mic_on_label", watch: "mic_join_label" }[state]);
    button.setAttribute("aria-pressed", String(state === "on"));
    button.title = `${label} (M)`;
    button.setAttribute("aria-label", label);
    setText(byId("source-name"), name);
  }

  level(level) {
    const lit = Math.sqrt(level) * 9;
    [...byId("level").children].forEach((bar, index) => bar.style.setProperty("--on", lit > index ? 1 : 0));
  }

  draw() {
    const can = this.store.you?.can ?? {};
    const live = this.store.connection.phase === "live";
    const { meeting } = this.store;
    byId("mic").hidden = byId("source").hidden = byId("level").hidden = can.speak === false;
    byId("paint-now").hidden = byId("hint-button").hidden = can.paint === false;
    byId("paint-now").disabled = !live;
    byId("invite-button").hidden = !can.invite;
    byId("tempo").hidden = !can.settings;
    for (const radio of byId("mode").querySelectorAll("input")) radio.checked = radio.value === meeting.mode;
    if (meeting.interval && document.activeElement !== byId("interval")) {
      const value = String(meeting.interval);
      if (![...byId("interval").options].some((option) => option.value === value)) {
        byId("interval").add(new Option(t("every", { n: value }), value));
      }
      byId("interval").value = value;
    }
    byId("interval").disabled = meeting.mode !== "auto";
    const pause = byId("pause");
    const label = t(meeting.paused ? "resume_label" : "pause_label");
    pause.setAttribute("aria-pressed", String(Boolean(meeting.paused)));
    pause.title = label;
    pause.setAttribute("aria-label", label);
  }

  #command(message) {
    if (!this.options.send(message)) toast(t("not_connected"));
    this.draw();
  }

  paint(hint = "") {
    this.#command(hint ? { type: "frame.request", hint } : { type: "frame.request" });
  }

  #bar() {
    byId("mic").addEventListener("click", () => this.options.microphone());
    byId("source").addEventListener("click", () => this.options.source());
    byId("paint-now").addEventListener("click", () => this.paint());
    byId("hint-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.paint(byId("hint-text").value.trim());
      byId("hint-text").value = "";
      byId("hint").hidePopover();
    });
    byId("hint").addEventListener("toggle", ({ newState }) => newState === "open" && byId("hint-text").focus());
    byId("mode").addEventListener("change", ({ target }) => this.#command({ type: "settings.change", mode: target.value }));
    byId("interval").addEventListener("change", ({ target }) => {
      this.#command({ type: "settings.change", interval: Number(target.value) });
    });
    byId("pause").addEventListener("click", () => {
      this.#command({ type: "settings.change", paused: !this.store.meeting.paused });
    });
    byId("captions-button").addEventListener("click", () => this.#captions());
    byId("full-screen").addEventListener("click", () => fullScreen());
  }

  #captions() {
    const { captions } = this.options;
    captions.show(!captions.on);
    byId("captions-button").setAttribute("aria-pressed", String(captions.on));
  }

  #more() {
    const { captions } = this.options;
    byId("captions-button").setAttribute("aria-pressed", String(captions.on));
    byId("caption-size").querySelector(`[value=${captions.sizeNow}]`).checked = true;
    byId("caption-size").addEventListener("change", ({ target }) => captions.size(target.value));
    byId("speak-captions").addEventListener("change", ({ target }) => captions.aloud(target.checked));
    for (const form of document.querySelectorAll("form[data-confirm]")) {
      form.addEventListener("submit", (event) => {
        if (!window.confirm(form.dataset.confirm)) event.preventDefault();
      });
    }
  }

  #invite() {
    byId("invite-button").addEventListener("click", async () => {
      try {
        const response = await fetch(`${this.options.inviteUrl}?part=1`, { headers: { Accept: "text/html" } });
        if (!response.ok) throw new Error(String(response.status));
        byId("invite-body").innerHTML = await response.text(); // our own template, values escaped by Django
        byId("invite-dialog").showModal();
      } catch {
        toast(t("invite_failed"));
      }
    });
  }

  #keys() {
    const on = byId("keys-on");
    on.checked = read(KEYS_OFF) !== "1";
    on.addEventListener("change", () => write(KEYS_OFF, on.checked ? "" : "1"));
    const actions = {
      KeyM: () => byId("mic").hidden || this.options.microphone(),
      KeyP: () => byId("paint-now").hidden || this.paint(),
      KeyC: () => this.#captions(),
      KeyF: () => fullScreen(),
    };
    document.addEventListener("keydown", (event) => {
      if (!on.checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey || byId("room").hidden) return;
      if (event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select, dialog")) return;
      const action = actions[event.code]; // by place on the keyboard: works in the Russian layout too
      if (action) {
        event.preventDefault();
        action();
      }
    });
  }

  /** On a phone the tempo and the invite move into the sheet. */
  #layout() {
    const phone = matchMedia(PHONE);
    const place = () => {
      if (phone.matches) byId("side-controls").append(byId("tempo"), byId("invite-button"));
      else {
        document.querySelector(".room__bottom").insertBefore(byId("tempo"), document.querySelector(".room__right"));
        byId("full-screen").before(byId("invite-button"));
      }
    };
    phone.addEventListener("change", place);
    place();
  }
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => toast(t("no_full_screen")));
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // storage is switched off: it holds for this page only
  }
}
