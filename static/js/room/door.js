/** The card before the room: name, source, device and level, and what may happen with the voice. */

import { FileSource, MicrophoneSource } from "./capture.js";
import { byId, make, setText } from "./dom.js";
import { t } from "./i18n.js";

const SILENT_AFTER_S = 5;
const SILENT_LEVEL = 0.004;

export class Door {
  /** @param {{name: string, can: object, workletUrl: string, consent: object}} options */
  constructor(options) {
    this.options = options;
    this.form = byId("door-form");
    this.microphone = null;
    this.secure = window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
    byId("insecure").hidden = this.secure || !options.can.speak;
    byId("door-name").value = options.name;
    this.#source("microphone").disabled = !this.secure || !options.can.speak;
    this.#source("file").disabled = !options.can.speak;
    if (!options.can.speak) byId("door-sources").hidden = true;
    this.form.addEventListener("change", (event) => event.target.name === "source" && this.#showSource());
    byId("try-microphone").addEventListener("click", () => this.#openMicrophone());
    byId("door-device").addEventListener("change", ({ target }) => this.#openMicrophone(target.value));
    byId("door-file").addEventListener("change", ({ target }) => {
      if (target.files.length) setText(byId("door-file-name"), target.files[0].name);
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.microphone && this.#listDevices());
  }

  #source(name) {
    return this.form.querySelector(`input[name=source][value=${name}]`);
  }

  /**
   * Show the card until the person comes in.
   *
   * @param {string=} source which one to offer first
   * @returns {Promise<{name: string, source: string, consent: object, capture: ?object}>} capture is open, not going
   */
  ask(source = "") {
    const first = source || (!this.options.can.speak ? "watch" : this.secure ? "microphone" : "watch");
    this.#source(first).checked = true;
    byId("door-watch").hidden = !this.options.can.speak;
    byId("door").hidden = false;
    this.#showSource();
    byId("door-name").focus();
    return new Promise((enter) => {
      const leave = async (chosen) => {
        byId("door").hidden = true;
        this.form.onsubmit = null;
        if (chosen.capture !== this.microphone) await this.microphone?.stop();
        this.microphone = null;
        this.agreed ||= Boolean(chosen.consent?.transcribe);
        enter({ name: byId("door-name").value.trim(), ...chosen });
      };
      byId("door-watch").onclick = () => leave({ source: "watch", consent: this.#withdrawal(), capture: null });
      this.form.onsubmit = async (event) => {
        event.preventDefault();
        const chosen = await this.#chosen();
        if (chosen) await leave(chosen);
      };
    });
  }

  get #current() {
    return new FormData(this.form).get("source") ?? "watch";
  }

  #consent(speaks) {
    return {
      transcribe: speaks && byId("consent-transcribe").checked,
      voice_id: speaks && byId("consent-voice").checked,
      keep: false,
    };
  }

  /** Who only watches takes back what this page agreed to, not what another window of theirs is just speaking by. */
  #withdrawal() {
    return this.agreed ? this.#consent(false) : null;
  }

  #problem(text, field) {
    const problem = byId("door-problem");
    problem.hidden = !text;
    setText(problem, text);
    field?.focus();
    return null;
  }

  async #chosen() {
    this.#problem("");
    const source = this.#current;
    if (source === "watch") return { source, consent: this.#withdrawal(), capture: null };
    if (!byId("consent-transcribe").checked) return this.#problem(t("door_consent"), byId("consent-transcribe"));
    if (source === "microphone") {
      if (!this.microphone) await this.#openMicrophone();
      if (!this.microphone) return this.#problem(t("door_no_microphone"), byId("try-microphone"));
      return { source, consent: this.#consent(true), capture: this.microphone };
    }
    const [file] = byId("door-file").files;
    if (!file) return this.#problem(t("door_no_file"), byId("door-file"));
    try {
      return { source, consent: this.#consent(true), capture: await FileSource.open(file) };
    } catch {
      return this.#problem(t("door_bad_file"), byId("door-file"));
    }
  }

  #showSource() {
    const source = this.#current;
    byId("part-microphone").hidden = source !== "microphone";
    byId("part-file").hidden = source !== "file";
    byId("door-consents").hidden = source === "watch";
    byId("door-watch").hidden = source === "watch";
    this.#problem("");
  }

  async #openMicrophone(deviceId = "") {
    byId("microphone-denied").hidden = true;
    await this.microphone?.stop();
    this.microphone = null;
    try {
      this.microphone = await MicrophoneSource.open(this.options.workletUrl, deviceId);
    } catch (error) {
      this.#denied(error);
      return;
    }
    byId("try-microphone").hidden = true;
    byId("microphone-live").hidden = false;
    this.#watchLevel(this.microphone);
    await this.#listDevices();
  }

  #denied(error) {
    const kind = { NotAllowedError: "denied", NotFoundError: "missing", NotReadableError: "busy" }[error.name] ?? "broken";
    setText(byId("denied-title"), t(`microphone_${kind}`));
    setText(byId("denied-text"), t(`microphone_${kind}_help`));
    byId("microphone-denied").hidden = false;
    byId("microphone-live").hidden = true;
    byId("try-microphone").hidden = false;
  }

  #watchLevel(microphone) {
    let heardAt = performance.now();
    let shown = 0;
    microphone.onlevel = (level) => {
      if (level > SILENT_LEVEL) heardAt = performance.now();
      shown = Math.max(Math.sqrt(level), shown * 0.82);
      byId("door-meter").style.setProperty("--level", Math.min(1, shown).toFixed(3));
      byId("microphone-silent").hidden = performance.now() - heardAt < SILENT_AFTER_S * 1000;
    };
  }

  async #listDevices() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
    const current = this.microphone?.deviceId;
    byId("door-device").replaceChildren(
      ...devices.map((device, index) =>
        make(
          "option",
          { value: device.deviceId, selected: device.deviceId === current },
          device.label || t("microphone_number", { n: index + 1 }),
        ),
      ),
    );
  }
}
