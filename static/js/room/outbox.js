/**
 * The audio of one stream that the server has not yet called durable: plain bookkeeping, no network.
 *
 * Every sample has a number, counted from the stream's start. What is acked is forgotten; what is not stays for up to
 * 120 s and is sent again after a reconnect from where the server says.
 */

import { SAMPLE_RATE_HZ } from "./resampler.js";

export const KEEP_S = 120;
const KEEP_SAMPLES = KEEP_S * SAMPLE_RATE_HZ;
const HEADER_BYTES = 16;

export class Outbox {
  constructor(id, { language = "", label = "" } = {}) {
    this.id = id;
    this.language = language;
    this.label = label;
    this.number = null; // from stream.opened; null while the server does not know us
    this.chunks = []; // {first, samples}, in order
    this.written = 0; // one past the last sample
    this.sent = 0; // one past the last sample handed to the socket
    this.acked = 0;
    this.ending = false;
  }

  /** Seconds that would be lost if the page went now. */
  get heldS() {
    return (this.written - this.acked) / SAMPLE_RATE_HZ;
  }

  get allSent() {
    return this.sent >= this.written;
  }

  /** @returns {number} how many old samples had to go to keep within 120 s */
  push(samples) {
    this.chunks.push({ first: this.written, samples });
    this.written += samples.length;
    let lost = 0;
    while (this.written - this.chunks[0].first > KEEP_SAMPLES) {
      const old = this.chunks.shift();
      lost += old.samples.length;
      this.acked = Math.max(this.acked, old.first + old.samples.length);
    }
    this.sent = Math.max(this.sent, this.chunks[0].first);
    return lost;
  }

  /** The server knows the stream and has everything before `nextSample`. */
  opened(number, nextSample) {
    this.number = number;
    this.written = Math.max(this.written, nextSample);
    this.forget(nextSample);
    this.sent = Math.max(nextSample, this.chunks[0]?.first ?? this.written);
  }

  forget(nextSample) {
    this.acked = Math.max(this.acked, nextSample);
    while (this.chunks.length && this.chunks[0].first + this.chunks[0].samples.length <= this.acked) {
      this.chunks.shift();
    }
  }

  disconnected() {
    this.number = null;
  }

  /** @returns {?ArrayBuffer} the next message on the wire, or null when all is sent */
  next() {
    if (this.number === null) return null;
    const chunk = this.chunks.find(({ first, samples }) => first + samples.length > this.sent);
    if (!chunk) return null;
    this.sent = chunk.first + chunk.samples.length;
    return audioMessage(this.number, chunk.first, chunk.samples);
  }
}

/** One binary message of the live protocol: header (little-endian) and samples. */
export function audioMessage(number, firstSample, samples) {
  const bytes = new ArrayBuffer(HEADER_BYTES + samples.length * 2);
  const view = new DataView(bytes);
  view.setUint8(0, 0x4d);
  view.setUint8(1, 0x56);
  view.setUint8(2, 1); // version
  view.setUint8(3, 1); // PCM16, mono, 16 kHz
  view.setUint16(4, number, true);
  view.setBigUint64(8, BigInt(firstSample), true);
  for (let i = 0; i < samples.length; i += 1) view.setInt16(HEADER_BYTES + i * 2, samples[i], true);
  return bytes;
}
