/**
 * Any device rate to 16 kHz, mono, block by block.
 *
 * A polyphase windowed sinc: each output sample is the inner product of the input around its place and the filter
 * phase for its fraction of a sample. The state (the tail of the input, the place of the next output) lives across
 * blocks, so that cutting the input differently changes nothing.
 *
 * Kaiser window and its length: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", 1974.
 */

export const SAMPLE_RATE_HZ = 16000;

/** Pass band edge as a share of the lower rate's Nyquist frequency; above it the filter falls to −80 dB at Nyquist. */
const PASS_BAND = 0.9;
const ATTENUATION_DB = 80;
const KAISER_BETA = 0.1102 * (ATTENUATION_DB - 8.7);
/** Above this many phases (odd device rates) neighbouring phases are blended instead of stored. */
const MOST_PHASES = 512;

function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

export class Resampler {
  /** @param {number} inputRateHz the device's rate, a whole number of Hz */
  constructor(inputRateHz) {
    const rate = Math.round(inputRateHz);
    const divisor = greatestCommonDivisor(rate, SAMPLE_RATE_HZ);
    this.up = SAMPLE_RATE_HZ / divisor;
    this.down = rate / divisor;
    this.phases = Math.min(this.up, MOST_PHASES);
    this.through = this.up === 1 && this.down === 1;
    this.#makeFilter(rate);
    // Half a filter of silence in front, so that the first output sits on the first input.
    this.tail = new Float32Array(this.taps - 1 - this.before);
    this.at = 0;
    this.remainder = 0;
  }

  #makeFilter(rate) {
    const nyquist = Math.min(rate, SAMPLE_RATE_HZ) / 2;
    const transition = (1 - PASS_BAND) * nyquist;
    const cutoff = (nyquist - transition / 2) / rate; // cycles per input sample
    const length = Math.ceil((ATTENUATION_DB - 8) / (2.285 * 2 * Math.PI * (transition / rate)));
    this.taps = length + (length % 2) + 2;
    this.before = this.taps / 2; // input samples after the output's place
    const edge = this.taps / 2;
    const scale = besselI0(KAISER_BETA);
    this.filter = new Float32Array((this.phases + 1) * this.taps);
    for (let phase = 0; phase <= this.phases; phase += 1) {
      let sum = 0;
      for (let tap = 0; tap < this.taps; tap += 1) {
        const distance = tap - (edge - 1) - phase / this.phases;
        const place = distance / edge;
        const window = Math.abs(place) >= 1 ? 0 : besselI0(KAISER_BETA * Math.sqrt(1 - place * place)) / scale;
        const angle = 2 * Math.PI * cutoff * distance;
        const value = (angle === 0 ? 1 : Math.sin(angle) / angle) * window;
        this.filter[phase * this.taps + tap] = value;
        sum += value;
      }
      for (let tap = 0; tap < this.taps; tap += 1) this.filter[phase * this.taps + tap] /= sum;
    }
  }

  /**
   * @param {Float32Array} block input samples, −1…1
   * @returns {Float32Array} what can be said about 16 kHz so far (it trails the input by half a filter, about 2 ms)
   */
  push(block) {
    if (this.through) return block.slice();
    const input = new Float32Array(this.tail.length + block.length);
    input.set(this.tail);
    input.set(block, this.tail.length);
    const out = [];
    let { at, remainder } = this;
    while (at + this.taps <= input.length) {
      const exact = (remainder / this.up) * this.phases;
      const phase = Math.floor(exact);
      const blend = exact - phase;
      const first = phase * this.taps;
      let sum = 0;
      if (blend === 0) {
        for (let tap = 0; tap < this.taps; tap += 1) sum += input[at + tap] * this.filter[first + tap];
      } else {
        const second = first + this.taps;
        for (let tap = 0; tap < this.taps; tap += 1) {
          sum += input[at + tap] * ((1 - blend) * this.filter[first + tap] + blend * this.filter[second + tap]);
        }
      }
      out.push(sum);
      remainder += this.down;
      at += Math.floor(remainder / this.up);
      remainder %= this.up;
    }
    const kept = Math.min(at, input.length);
    this.tail = input.slice(kept);
    this.at = at - kept;
    this.remainder = remainder;
    return Float32Array.from(out);
  }
}

/** Float −1…1 to signed 16-bit, clipped, rounded. */
export function toPcm16(samples) {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i += 1) {
    out[i] = Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32767)));
  }
  return out;
}
