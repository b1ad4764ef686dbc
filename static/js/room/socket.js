/**
 * The live socket: says hello, opens and resumes streams, sends audio, comes back by itself.
 *
 * Events: `message` (detail: the JSON object), `phase` (detail: {phase, code, retryInS}) and `lost` (detail: {seconds}).
 * Phases: connecting, live, reconnecting, taken, closed.
 */

import { Outbox } from "./outbox.js";
import { SAMPLE_RATE_HZ } from "./resampler.js";

const FIRST_RETRY_S = 0.25;
const LONGEST_RETRY_S = 8;
const HELLO_TIMEOUT_S = 10;
/** Audio went out and nothing at all came back for so long: the line is dead even if nobody said so. */
const SILENCE_S = 15;
/** Replays run at this many times real time unless the server names its own limit. */
const REPLAY_SPEED = 4;
const MOST_QUEUED_BYTES = 256 * 1024;

const FOR_GOOD = new Set([4401, 4403, 4404, 4410]);
const TAKEN_OVER = 4409;
const TOO_FAST = 4429;

/** `crypto.randomUUID` exists only on secure addresses; files may be sent from others too. RFC 9562, version 4. */
function uuid4() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export class LiveSocket extends EventTarget {
  /**
   * @param {string} url of the socket
   * @param {() => object} hello fields of the first message, asked again at every connect
   */
  constructor(url, hello) {
    super();
    this.url = url;
    this.hello = hello;
    this.phase = "connecting";
    this.outboxes = new Map();
    this.retries = 0;
    this.bytesPerS = REPLAY_SPEED * SAMPLE_RATE_HZ * 2;
    this.allowance = this.bytesPerS;
    window.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    setInterval(() => this.#tick(), 100);
  }

  get live() {
    return this.phase === "live";
  }

  /** Seconds of speech that the server has not yet called safe. */
  get heldS() {
    return Math.max(0, ...[...this.outboxes.values()].map((outbox) => outbox.heldS));
  }

  open() {
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.retryAt = 0;
    const socket = new WebSocket(this.url, "meetviz.v1");
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.lastHeard = performance.now();
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ...this.hello() }));
    socket.onmessage = ({ data }) => this.socket === socket && this.#heard(data);
    socket.onclose = ({ code }) => this.socket === socket && this.#dropped(code);
  }

  /** Leave without coming back. */
  close() {
    clearTimeout(this.retryTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
    this.#enter("closed", { code: 1000 });
  }

  /** Leave and come back at once, with a fresh hello (a consent or the name has changed). */
  again() {
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
    for (const outbox of this.outboxes.values()) outbox.disconnected();
    this.#enter("connecting");
    this.open();
  }

  /** @returns {boolean} whether it went out; commands are not kept for later, audio is */
  send(message) {
    if (!this.live) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  startStream(options, id = uuid4()) {
    const outbox = new Outbox(id, options);
    this.outboxes.set(outbox.id, outbox);
    this.#openStream(outbox);
    return outbox;
  }

  write(outbox, samples) {
    const lost = outbox.push(samples);
    if (lost) this.dispatchEvent(new CustomEvent("lost", { detail: { seconds: lost / SAMPLE_RATE_HZ } }));
    this.#pump();
  }

  /** Nothing more will be said on this stream: what is left is sent, decoded, and the stream closed. */
  endStream(outbox) {
    outbox.ending = true;
    this.#pump();
  }

  #openStream(outbox) {
    const message = { type: "stream.open", stream: outbox.id };
    if (outbox.language) message.language = outbox.language;
    if (outbox.label) message.label = outbox.label;
    this.send(message);
  }

  #heard(data) {
    if (typeof data !== "string") return;
    this.lastHeard = performance.now();
    const message = JSON.parse(data);
    const outbox = this.outboxes.get(message.stream);
    if (message.type === "welcome") {
      this.retries = 0;
      const limit = message.limits?.audio_bytes_per_s;
      if (limit) this.bytesPerS = limit * 0.8;
      this.#enter("live");
      for (const waiting of this.outboxes.values()) this.#openStream(waiting);
    } else if (message.type === "stream.opened" && outbox) {
      outbox.opened(message.number, message.next_sample);
      this.#pump();
    } else if (message.type === "audio.ack" && outbox) {
      outbox.forget(message.next_sample);
    } else if (message.type === "stream.closed" && outbox) {
      this.outboxes.delete(message.stream);
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #pump() {
    if (!this.live) return;
    for (const outbox of this.outboxes.values()) {
      while (this.allowance > 0 && this.socket.bufferedAmount < MOST_QUEUED_BYTES) {
        const bytes = outbox.next();
        if (!bytes) break;
        this.allowance -= bytes.byteLength;
        this.socket.send(bytes);
      }
      if (outbox.ending && outbox.number !== null && outbox.allSent) {
        this.send({ type: "stream.close", stream: outbox.id });
        outbox.disconnected(); // says it once; a reconnect opens the stream again and repeats it
      }
    }
  }

  #tick() {
    this.allowance = Math.min(this.bytesPerS, this.allowance + this.bytesPerS / 10);
    this.#pump();
    const silentS = (performance.now() - this.lastHeard) / 1000;
    if ((this.live && this.heldS > 1 && silentS > SILENCE_S) || (this.#waiting && silentS > HELLO_TIMEOUT_S)) {
      const socket = this.socket;
      this.#dropped(4000);
      socket.close(4000);
    }
  }

  get #waiting() {
    return this.socket && !this.live && !this.retryTimer && this.phase !== "taken" && this.phase !== "closed";
  }

  #dropped(code) {
    this.socket = null;
    for (const outbox of this.outboxes.values()) outbox.disconnected();
    if (FOR_GOOD.has(code)) {
      this.#enter("closed", { code });
      return;
    }
    if (code === TAKEN_OVER) {
      // The same stream speaks from another window: ours must not take it back and forth.
      this.outboxes.clear();
      this.#enter("taken", { code });
    }
    let waitS = Math.min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** this.retries);
    if (code === TOO_FAST) {
      this.bytesPerS = Math.max(SAMPLE_RATE_HZ * 3, this.bytesPerS / 2);
      waitS = Math.max(waitS, 1);
    }
    this.retries += 1;
    const retryInS = waitS * (0.75 + 0.5 * Math.random());
    this.retryTimer = setTimeout(() => this.open(), retryInS * 1000);
    this.#enter("reconnecting", { code, retryInS });
  }

  #hurry() {
    if (this.retryTimer) this.open();
  }

  #enter(phase, detail = {}) {
    this.phase = phase;
    this.dispatchEvent(new CustomEvent("phase", { detail: { phase, ...detail } }));
  }
}
