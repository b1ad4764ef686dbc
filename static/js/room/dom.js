/** Small helpers for making elements without markup strings: what people said never becomes HTML. */

export const byId = (id) => document.getElementById(id);

/** `make("p", {class: "quote", lang}, "text", child)`; properties starting with `on` become listeners. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A copy of an icon that the page carries as a template. */
export function icon(name) {
  const copy = byId(`icon-${name}`).content.firstElementChild.cloneNode(true);
  copy.querySelector("[id]")?.removeAttribute("id");
  return copy;
}

const COLOUR = /^#[0-9a-f]{3,8}$/i;

/** A speaker's colour, or nothing when it is not one. */
export function voiceColour(speaker) {
  return COLOUR.test(speaker?.color ?? "") ? speaker.color : null;
}

/** Text and pressed state that changes often: written only when different, so that nothing re-lays out for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
