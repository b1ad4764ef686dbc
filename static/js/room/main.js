/** The room: the card, then socket, store and views put together. */

import { MicrophoneSource } from "./capture.js";
import { Captions } from "./captions.js";
import { Controls } from "./controls.js";
import { Door } from "./door.js";
import { byId, setText } from "./dom.js";
import { Engines } from "./engines.js";
import { Filmstrip } from "./filmstrip.js";
import { stopwatch, t } from "./i18n.js";
import { say, toast } from "./notes.js";
import { Painting } from "./painting.js";
import { People } from "./people.js";
import { Recovery } from "./recovery.js";
import { LiveSocket } from "./socket.js";
import { Stage } from "./stage.js";
import { Store } from "./state.js";
import { StatusLine } from "./status.js";

const ASK_AGAIN_MS = 6000;

const config = JSON.parse(byId("room-config").textContent);
const store = new Store();
const door = new Door({ name: config.me.name, can: config.me.can, workletUrl: config.worklet_url });
const recovery = new Recovery(config.slug);

let answer = null; // of the door
let capture = null; // the open source
let outbox = null; // its stream while it sends

const scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
const socket = new LiveSocket(`${scheme}//${window.location.host}${config.ws_path}`, () => ({
  name: answer.name,
  consent: answer.consent,
}));

store.meeting = { ...config.meeting };
store.you = { participant: config.me.participant, name: config.me.name, role: config.me.role, can: config.me.can };
store.onGap = () => socket.send({ type: "resync" });

const stage = new Stage(store, {
  onshown: (frame) => socket.send({ type: "frame.shown", frame }),
  onrate: (frame, value) => socket.send({ type: "frame.rate", frame, value }),
  say,
});
const naming = {
  line: async (caption) => (await whoDialog())?.line(caption),
  voice: async (speaker) => (await whoDialog())?.voice(speaker),
  answer: confirmSpeaker,
};
new People(store, naming);
const captions = config.me.can.assign ? new Captions(store, naming.line, naming.answer) : new Captions(store);
new Filmstrip(store, stage);
const controls = new Controls(store, {
  send: (message) => socket.send(message),
  microphone: () => toggleMicrophone(),
  source: () => changeSource(),
  captions,
  inviteUrl: config.invites_url,
});
new Painting(store, { cancel: (frame) => socket.send({ type: "frame.cancel", frame }) || toast(t("not_connected")), say });
new Engines(store, { fetch: () => socket.send({ type: "models.fetch" }) });
const status = new StatusLine(store, { listening: () => soundState(), heldS: () => socket.heldS });

document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && !document.querySelector("dialog[open], :popover-open")) stage.hold(null);
});

socket.addEventListener("message", ({ detail: message }) => {
  const reason = { "frame.failed": message.reason, "frame.skipped": message.reason, "frame.started": message.because }[message.type];
  if (reason && reason !== "meeting_ended") toast(ours(`reason_${reason}`, message.message));
  if (message.type === "error") onError(message);
  if (message.type === "status") message.at = store.now();
  store.apply(message);
  if (message.type === "meeting.updated" && store.meeting.ended_at) showClosed(4410);
});

socket.addEventListener("phase", ({ detail }) => {
  const before = store.connection.phase;
  store.connection = detail;
  if (detail.phase === "reconnecting" && before === "live") say(t("lost"), { urgent: true });
  if (detail.phase === "live" && before === "reconnecting") say(t("back_again"), { urgent: true });
  if (detail.phase === "taken") takenOver();
  if (detail.phase === "closed" && detail.code !== 1000) showClosed(detail.code);
  store.touch("connection");
});

socket.addEventListener("lost", ({ detail }) => toast(t("lost_audio", { n: Math.ceil(detail.seconds) })));

let who = null;

/** Fetched when it is first asked for; null without a connection. */
async function whoDialog() {
  try {
    return await (who ??= loadWho());
  } catch {
    who = null;
    toast(t("not_connected"));
    return null;
  }
}

async function loadWho() {
  const [{ WhoDialog }, response] = await Promise.all([import("./who.js"), fetch("?part=who")]);
  if (!response.ok) throw new Error(String(response.status));
  byId("room").insertAdjacentHTML("beforeend", await response.text()); // our own template, nothing in it from people
  return new WhoDialog(store, (message) => socket.send(message));
}

/** Whether a line is whose it seems to be; the question is gone at once and comes back only if nothing follows. */
function confirmSpeaker(caption, yes) {
  if (!socket.send({ type: "caption.confirm", utterance: caption.id, yes })) {
    toast(t("not_connected"));
    return;
  }
  const asked = (answered) => {
    for (const line of store.captions) if (line.id === caption.id) line.answered = answered;
    store.touch("captions");
  };
  asked(true);
  setTimeout(() => asked(false), ASK_AGAIN_MS);
}

function ours(key, fallback) {
  const text = t(key);
  return text === key ? fallback : text;
}

function onError(message) {
  if (message.code === "consent_required") {
    stopSound();
    changeSource();
    return;
  }
  toast(ours(`error_${message.code}`, message.message) || t("error_unknown"));
}

function soundState() {
  if (store.meeting.paused && !outbox) return "paused";
  if (outbox) return "on";
  return capture ? "off" : "watch";
}

function soundName() {
  if (!capture) return store.you.can.speak ? t("source_none") : t("source_watch");
  if (capture.durationS) return `${capture.label} ${stopwatch(capture.positionS)} / ${stopwatch(capture.durationS)}`;
  return capture.label || t("microphone");
}

function showSound() {
  controls.sound(outbox ? "on" : capture ? "off" : "watch", soundName());
  status.draw();
}

function startSound() {
  outbox = socket.startStream({ label: capture.label.slice(0, 120) });
  capture.onsamples = (samples) => outbox && socket.write(outbox, samples);
  capture.onlevel = (level) => {
    controls.level(level);
    if (capture?.durationS) setText(byId("source-name"), soundName());
  };
  capture.onended = () => {
    toast(t(capture.durationS ? "file_ended" : "microphone_ended"));
    stopSound();
  };
  capture.go();
  if (capture.needsTouch) toast(t("touch_needed"), { label: t("listen"), run: () => capture.go() });
  showSound();
  say(t("listening_on"));
}

/** Sending stops and what was said is decoded to its end; the device stays open for a quick return. */
async function pauseSound() {
  const stream = outbox;
  await capture.hold();
  outbox = null;
  socket.endStream(stream);
  showSound();
  say(t("listening_off"));
}

async function stopSound() {
  const stream = outbox;
  const source = capture;
  await source?.stop();
  if (stream) socket.endStream(stream);
  outbox = capture = null;
  controls.level(0);
  showSound();
}

async function toggleMicrophone() {
  if (!store.you.can.speak) return;
  if (!capture) changeSource("microphone");
  else if (outbox) await pauseSound();
  else startSound();
}

/** The card again: another device, a file, other consents. */
async function changeSource(source = answer?.source) {
  byId("room").hidden = true;
  await stopSound();
  await enter(await door.ask(source));
}

async function enter(chosen) {
  const agreed = JSON.stringify([answer?.consent, answer?.name]);
  answer = chosen;
  capture = chosen.capture;
  byId("room").hidden = false;
  if (!socket.socket) socket.open();
  else if (agreed !== JSON.stringify([answer.consent, answer.name])) socket.again();
  if (capture) startSound();
  else showSound();
  controls.draw();
  byId("main").focus({ preventScroll: true });
}

function takenOver() {
  const source = capture;
  outbox = null;
  source?.hold();
  showSound();
  toast(t("taken_over"), { label: t("speak_here"), run: () => source && startSound() });
}

function showClosed(code) {
  stopSound();
  const key = { 4401: "closed_out", 4403: "closed_out", 4404: "closed_gone", 4410: "closed_ended" }[code] ?? "closed_out";
  setText(byId("closed-title"), t(key));
  setText(byId("closed-text"), t(`${key}_text`));
  byId("closed-note").hidden = false;
  say(t(key), { urgent: true });
}

window.addEventListener("pagehide", () => answer && !store.meeting.ended_at && recovery.leave(answer, socket.outboxes.values()));
window.addEventListener("pageshow", ({ persisted }) => persisted && window.location.reload());

async function begin() {
  const kept = recovery.take();
  if (!kept) return enter(await door.ask());
  Recovery.resend(socket, kept.streams);
  door.agreed = Boolean(kept.answer.consent?.transcribe);
  let source = null;
  if (kept.answer.source === "microphone") {
    try {
      source = await MicrophoneSource.open(config.worklet_url);
    } catch {
      toast(t("microphone_again"), { label: t("listen"), run: () => changeSource("microphone") });
    }
  }
  return enter({ ...kept.answer, source: source ? "microphone" : "watch", capture: source });
}

document.documentElement.dataset.ready = "yes";
begin();
