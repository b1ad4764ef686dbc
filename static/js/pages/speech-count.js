/**
 * About how much speech a recording holds, while it is being made: the server decides, this only tells when to stop.
 *
 * Loudness against the room's own: 20 ms that rise 15 dB above the quiet moments so far are speech, with what lies
 * at most 0.1 s between them.
 */

import { SAMPLE_RATE_HZ } from "../room/resampler.js";

const FRAME_SAMPLES = 0.02 * SAMPLE_RATE_HZ;
const ABOVE_QUIET_DB = 15;
const FLOOR_DBFS = -52;
const BRIDGE_FRAMES = 5;
/** How fast the quiet level forgets a quieter moment, dB a frame: 3 dB a second. */
const RISE_DB = 0.06;

export class SpeechCount {
  constructor() {
    this.frames = 0;
    this.quietDbfs = -40;
    this.gap = BRIDGE_FRAMES + 1;
    this.rest = new Int16Array(0);
  }

  get speechS() {
    return (this.frames * FRAME_SAMPLES) / SAMPLE_RATE_HZ;
  }

  /** @param {Int16Array} samples 16 kHz, any number of them */
  push(samples) {
    const all = new Int16Array(this.rest.length + samples.length);
    all.set(this.rest);
    all.set(samples, this.rest.length);
    let at = 0;
    for (; at + FRAME_SAMPLES <= all.length; at += FRAME_SAMPLES) this.#frame(all.subarray(at, at + FRAME_SAMPLES));
    this.rest = all.slice(at);
  }

  #frame(frame) {
    let power = 0;
    for (const value of frame) power += value * value;
    const level = 10 * Math.log10(power / frame.length / 2 ** 30 + 1e-12);
    this.quietDbfs = Math.min(level, this.quietDbfs + RISE_DB);
    if (level < Math.max(FLOOR_DBFS, this.quietDbfs + ABOVE_QUIET_DB)) {
      this.gap += 1;
      return;
    }
    this.frames += this.gap <= BRIDGE_FRAMES ? this.gap + 1 : 1;
    this.gap = 0;
  }
}
