/**
 * The microphone on the audio thread: whatever the device gives becomes 96 ms blocks of 16 kHz PCM16.
 *
 * Posts {samples: Int16Array} for each full block and {level} (peak, 0–1) about 20 times a second. Takes
 * {flush: true}, after which the last, shorter block is posted followed by {flushed: true}.
 */

import { Resampler, SAMPLE_RATE_HZ, toPcm16 } from "./resampler.js";

const BLOCK_SAMPLES = 1536; // three of the server's frames: none waits for the next block
const LEVEL_EVERY_S = 0.05;
const SHORTEST_SAMPLES = 0.02 * SAMPLE_RATE_HZ;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate);
    this.block = new Int16Array(BLOCK_SAMPLES);
    this.filled = 0;
    this.peak = 0;
    this.sinceLevel = 0;
    this.port.onmessage = ({ data }) => {
      if (data.flush) this.flush();
    };
  }

  flush() {
    if (this.filled >= SHORTEST_SAMPLES) this.port.postMessage({ samples: this.block.slice(0, this.filled) });
    this.filled = 0;
    this.port.postMessage({ flushed: true });
  }

  process([channels]) {
    if (!channels.length) return true;
    const length = channels[0].length;
    const mono = new Float32Array(length);
    for (const channel of channels) {
      for (let i = 0; i < length; i += 1) mono[i] += channel[i] / channels.length;
    }
    for (const value of mono) this.peak = Math.max(this.peak, Math.abs(value));
    this.sinceLevel += length;
    if (this.sinceLevel >= LEVEL_EVERY_S * sampleRate) {
      this.port.postMessage({ level: this.peak });
      this.peak = 0;
      this.sinceLevel = 0;
    }
    const samples = toPcm16(this.resampler.push(mono));
    for (let taken = 0; taken < samples.length; ) {
      const count = Math.min(samples.length - taken, BLOCK_SAMPLES - this.filled);
      this.block.set(samples.subarray(taken, taken + count), this.filled);
      this.filled += count;
      taken += count;
      if (this.filled === BLOCK_SAMPLES) {
        this.port.postMessage({ samples: this.block.slice() });
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("meetviz-capture", Capture);
