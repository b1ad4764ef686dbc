/** Teaching a voice: recordings and files are gathered here, sent together, and kept until there is enough speech. */

import { MicrophoneSource } from "../room/capture.js";
import { byId, icon, make, setText } from "../room/dom.js";
import { t } from "../room/i18n.js";
import { SAMPLE_RATE_HZ } from "../room/resampler.js";
import { SpeechCount } from "./speech-count.js";
import { wav } from "./wav.js";

const POLL_MS = 700;
const LONGEST_RECORDING_S = 120;

const form = byId("teach");
const enoughS = Number(form.dataset.enough);
const mostBytes = Number(form.dataset.mostBytes);
const pieces = []; // {name, blob, speechS: number | null}
let microphone = null;
let blocks = [];
let count = null;
let busy = false;

const seconds = (value) => value.toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

function answer(text, kind = "") {
  const box = byId("teach-answer");
  box.hidden = !text;
  box.className = `notice${kind && ` notice--${kind}`}`;
  setText(box, text);
}

/** What the microphone has heard so far; files are counted by the server. */
function showHeard() {
  const heardS = pieces.reduce((sum, piece) => sum + (piece.speechS ?? 0), count?.speechS ?? 0);
  const known = pieces.every((piece) => piece.speechS !== null);
  byId("heard").hidden = !microphone && (!pieces.length || !known);
  byId("heard").style.setProperty("--done", Math.min(1, heardS / enoughS).toFixed(3));
  byId("heard").toggleAttribute("data-enough", heardS >= enoughS);
  setText(byId("heard-text"), t(heardS >= enoughS ? "heard_enough" : "heard_so_far", { n: seconds(heardS), of: enoughS }));
}

function showPieces() {
  byId("pieces").replaceChildren(
    ...pieces.map((piece, index) =>
      make(
        "li",
        { class: "piece" },
        icon(piece.recorded ? "microphone" : "file"),
        make("span", { class: "piece__name" }, piece.name),
        make(
          "button",
          { class: "button button--icon button--small button--quiet", type: "button", title: t("remove", { name: piece.name }), "aria-label": t("remove", { name: piece.name }), onclick: () => remove(index) },
          icon("close"),
        ),
      ),
    ),
  );
  showHeard();
}

function remove(index) {
  pieces.splice(index, 1);
  answer("");
  showPieces();
  byId("record").focus();
}

function problem(error = null) {
  byId("record-problem").hidden = !error;
  if (!error) return;
  const kind = { NotAllowedError: "denied", NotFoundError: "missing", NotReadableError: "busy", insecure: "insecure" }[error.name] ?? "broken";
  setText(byId("record-problem-title"), t(`record_${kind}`));
  setText(byId("record-problem-text"), t(`record_${kind}_help`));
}

async function record() {
  problem();
  answer("");
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return problem({ name: "insecure" });
  try {
    microphone = await MicrophoneSource.open(form.dataset.worklet);
  } catch (error) {
    microphone = null;
    return problem(error);
  }
  blocks = [];
  count = new SpeechCount();
  let shown = 0;
  microphone.onsamples = (samples) => {
    blocks.push(samples);
    count.push(samples);
    showHeard();
    if (blocks.length * samples.length > LONGEST_RECORDING_S * SAMPLE_RATE_HZ) stop();
  };
  microphone.onlevel = (level) => {
    shown = Math.max(Math.sqrt(level), shown * 0.82);
    byId("record-meter").style.setProperty("--level", Math.min(1, shown).toFixed(3));
  };
  microphone.onended = () => stop();
  await microphone.go();
  showRecording();
}

async function stop() {
  const source = microphone;
  if (!source) return;
  await source.stop(); // hands over what is left of the last block
  microphone = null;
  const lengthS = blocks.reduce((sum, block) => sum + block.length, 0) / SAMPLE_RATE_HZ;
  if (lengthS > 0.3) {
    pieces.push({ name: t("recording_of", { n: seconds(lengthS) }), blob: wav(blocks), speechS: count.speechS, recorded: true });
  }
  blocks = [];
  count = null;
  showRecording();
  showPieces();
}

function showRecording() {
  const on = Boolean(microphone);
  byId("record").toggleAttribute("data-on", on);
  setText(byId("record-word"), t(on ? "stop" : pieces.length ? "record_more" : "record"));
  byId("recording").hidden = !on;
  showHeard();
}

function addFiles(files) {
  problem();
  answer("");
  for (const file of files) pieces.push({ name: file.name, blob: file, speechS: null });
  if (totalBytes() > mostBytes) {
    pieces.splice(-files.length);
    answer(t("too_large", { n: Math.floor(mostBytes / 2 ** 20) }), "warning");
  }
  showRecording();
  showPieces();
}

const totalBytes = () => pieces.reduce((sum, piece) => sum + piece.blob.size, 0);

/** What is missing before anything is sent, with the field to go to; null when all is there. */
function missing() {
  if (!byId("teach-name").value.trim()) return [t("need_name"), byId("teach-name")];
  if (!pieces.length) return [t("need_sound"), byId("record")];
  if (!byId("teach-consent").checked) return [t("need_consent"), byId("teach-consent")];
  return null;
}

async function send() {
  await stop();
  const [text, field] = missing() ?? [];
  if (text) {
    answer(text, "warning");
    field.focus();
    return;
  }
  const body = new FormData(form);
  for (const piece of pieces) body.append("sound", piece.blob, piece.recorded ? "recording.wav" : piece.name);
  answer(t("sending"));
  let result = await ask(form.action, { method: "POST", body });
  const address = `${form.action}${result.id}/`;
  while (result.state === "waiting") {
    answer(result.message);
    await new Promise((done) => setTimeout(done, POLL_MS));
    result = await ask(address, {});
  }
  await finished(result);
}

async function ask(address, options) {
  try {
    const response = await fetch(address, { ...options, headers: { Accept: "application/json" } });
    if (response.headers.get("content-type")?.startsWith("application/json")) return await response.json();
    return { state: "refused", message: t(response.status === 413 ? "too_large" : "failed", { n: Math.floor(mostBytes / 2 ** 20) }) };
  } catch {
    return { state: "refused", message: t("no_connection") };
  }
}

/** What was recorded is dropped only once it was learned: until then more can be added. */
async function finished(result) {
  if (result.state !== "done") {
    answer(result.message, "warning");
    showRecording();
    return;
  }
  pieces.length = 0;
  form.reset();
  showPieces();
  showRecording();
  await showKnown();
  answer(result.message, "good");
  byId(`voice-${result.speaker}`)?.setAttribute("data-new", "");
}

async function showKnown() {
  const response = await fetch(`${window.location.pathname}?part=1`, { headers: { Accept: "text/html" } });
  if (response.ok) byId("known").innerHTML = await response.text(); // our own template, values escaped by Django
}

byId("record").addEventListener("click", () => (microphone ? stop() : record()));
byId("teach-file").addEventListener("change", ({ target }) => {
  addFiles([...target.files]);
  target.value = "";
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  busy = byId("teach-go").disabled = true;
  try {
    await send();
  } finally {
    busy = byId("teach-go").disabled = false;
  }
});
window.addEventListener("pagehide", () => microphone?.stop());
