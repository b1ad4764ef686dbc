/** The big screen: the picture edge to edge, captions below, nothing to press. */

import { Captions } from "./captions.js";
import { byId, setText } from "./dom.js";
import { t } from "./i18n.js";
import { say } from "./notes.js";
import { LiveSocket } from "./socket.js";
import { Stage } from "./stage.js";
import { Store } from "./state.js";

const IDLE_MS = 3000;

const config = JSON.parse(byId("room-config").textContent);
const store = new Store();
store.meeting = { ...config.meeting };
store.you = { can: {} };
const scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
const socket = new LiveSocket(`${scheme}//${window.location.host}${config.ws_path}`, () => ({}));
store.onGap = () => socket.send({ type: "resync" });
new Stage(store, { onshown: (frame) => socket.send({ type: "frame.shown", frame }), onrate: () => {}, say });
const captions = new Captions(store, null);
captions.band.hidden = false;

socket.addEventListener("message", ({ detail }) => store.apply(detail));
socket.addEventListener("phase", ({ detail }) => {
  store.connection = detail;
  const gone = { reconnecting: t("lost"), closed: t("closed_ended") }[detail.phase] ?? "";
  setText(byId("tv-state"), gone);
  store.touch("connection");
});

document.addEventListener("keydown", ({ code }) => {
  if (code === "KeyC") captions.band.toggleAttribute("data-off");
  if (code === "KeyF") document.documentElement.requestFullscreen?.();
});

let idle = null;
function awake() {
  document.body.classList.remove("is-idle");
  clearTimeout(idle);
  idle = setTimeout(() => document.body.classList.add("is-idle"), IDLE_MS);
}
document.addEventListener("pointermove", awake);
awake();

async function keepScreenOn() {
  try {
    await navigator.wakeLock?.request("screen");
  } catch {
    // low battery or no permission: the screen may sleep
  }
}
document.addEventListener("visibilitychange", () => document.hidden || keepScreenOn());
keepScreenOn();
socket.open();
