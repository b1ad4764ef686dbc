/** The page's words: rendered by Django's gettext into one JSON block, looked up by key. */

const block = JSON.parse(document.getElementById("room-text").textContent);

export const language = document.documentElement.lang || "en";
const plural = new Intl.PluralRules(language);
const clockFormat = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const decimal = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

/** @returns {string} the text with `{name}` places filled */
export function t(key, values = {}) {
  return fill(block.texts[key] ?? key, values);
}

/** The right plural form for `n`, which also fills `{n}`. */
export function tn(key, n, values = {}) {
  const forms = block.plurals[key];
  return fill(forms[plural.select(n)] ?? forms.other, { n: decimal.format(n), ...values });
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Seconds to `m:ss` or `h:mm:ss`. */
export function stopwatch(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** Unix seconds to the wall clock here. */
export function wallClock(seconds) {
  return clockFormat.format(new Date(seconds * 1000));
}

/** A measured time: one decimal of a second. */
export function measured(ms) {
  return t("seconds_short", { n: decimal.format(ms / 1000) });
}

/** How long ago or ahead, in words short enough for a status line. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds_short", { n: Math.max(0, Math.round(seconds)) });
  if (seconds < 3600) return t("minutes_short", { n: Math.round(seconds / 60) });
  return t("hours_short", { n: decimal.format(seconds / 3600) });
}
