/**
 * One accent taken from the picture on the wall: its most telling colour, made readable on both themes.
 *
 * Contrast as WCAG 2.2 counts it (relative luminance, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio): 3:1 against the
 * page for lines and shapes, 4.5:1 for the words on it.
 */

const SIDE_PX = 24;
const HUES = 24;
const INKS = ["#17100e", "#ffffff"];

function linear(channel) {
  const value = channel / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

export function luminance([red, green, blue]) {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

export function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

function parse(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function toHsl([red, green, blue]) {
  const [r, g, b] = [red / 255, green / 255, blue / 255];
  const top = Math.max(r, g, b);
  const low = Math.min(r, g, b);
  const span = top - low;
  const light = (top + low) / 2;
  if (!span) return [0, 0, light];
  const turn = top === r ? ((g - b) / span + 6) % 6 : top === g ? (b - r) / span + 2 : (r - g) / span + 4;
  return [turn / 6, span / (1 - Math.abs(2 * light - 1)), light];
}

function fromHsl([hue, saturation, light]) {
  const reach = saturation * Math.min(light, 1 - light);
  const channel = (n) => {
    const k = (n + hue * 12) % 12;
    return Math.round(255 * (light - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** The vivid hue that covers most, or null for a grey picture. */
function tellingColour(pixels) {
  const bins = Array.from({ length: HUES }, () => ({ weight: 0, sum: [0, 0, 0] }));
  for (let i = 0; i < pixels.length; i += 4) {
    const rgb = [pixels[i], pixels[i + 1], pixels[i + 2]];
    const [hue, saturation, light] = toHsl(rgb);
    const vivid = saturation ** 2 * (1 - Math.abs(2 * light - 1)) * (hue < 0.14 || hue > 0.92 ? 2 : 1);
    if (vivid < 0.05) continue;
    const bin = bins[Math.min(HUES - 1, Math.floor(hue * HUES))];
    bin.weight += vivid;
    rgb.forEach((value, channel) => (bin.sum[channel] += value * vivid));
  }
  const best = bins.reduce((a, b) => (b.weight > a.weight ? b : a));
  return best.weight > 1 ? best.sum.map((value) => value / best.weight) : null;
}

/** Lighter or darker until it stands out from the page, and the ink that reads best on it. */
export function readable(rgb, page) {
  const [hue, saturation, light] = toHsl(rgb);
  const step = luminance(page) < 0.2 ? 0.02 : -0.02;
  let colour = rgb;
  for (let at = light; at > 0.05 && at < 0.95 && contrast(colour, page) < 3.2; at += step) {
    colour = fromHsl([hue, Math.max(0.35, saturation), at]);
  }
  const inks = INKS.map((ink) => ({ ink, ratio: contrast(parse(ink), colour) })).sort((a, b) => b.ratio - a.ratio);
  return { colour, ink: inks[0].ink, ratio: inks[0].ratio };
}

export async function accentFrom(thumbUrl) {
  const thumb = new Image();
  thumb.src = thumbUrl;
  try {
    await thumb.decode();
  } catch {
    return; // the accent before stays
  }
  const canvas = new OffscreenCanvas(SIDE_PX, SIDE_PX);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(thumb, 0, 0, SIDE_PX, SIDE_PX);
  const telling = tellingColour(context.getImageData(0, 0, SIDE_PX, SIDE_PX).data);
  const root = document.documentElement;
  if (!telling) {
    for (const name of ["--accent", "--accent-line", "--accent-ink"]) root.style.removeProperty(name);
    return;
  }
  const page = parse(getComputedStyle(root).getPropertyValue("--bg").trim());
  const { colour, ink } = readable(telling, page);
  const css = `rgb(${colour.map(Math.round).join(" ")})`;
  root.style.setProperty("--accent", css);
  root.style.setProperty("--accent-line", css);
  root.style.setProperty("--accent-ink", ink);
}
