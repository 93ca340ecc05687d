// What is shown, kept in the address bar: a link restores it.

import { MEASURES } from "./measures.js";

const EMPTY = { view: "", measure: "rtt", rows: "", columns: "", from: "", to: "", fromZone: "", toZone: "" };

/** Read the view from the part of an address after "#". Unknown keys and values are left out. */
export function parseView(hash) {
  const view = { ...EMPTY };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (key in EMPTY) view[key] = value;
  }
  if (!["", "zones", "nodes"].includes(view.view)) view.view = "";
  if (!MEASURES.some((measure) => measure.name === view.measure)) view.measure = EMPTY.measure;
  return view;
}

/** Write it: only what differs from the page's first view. */
export function formatView(view) {
  const changed = Object.entries(view).filter(([key, value]) => value !== EMPTY[key]);
  return new URLSearchParams(changed).toString();
}

const PAUSE = 250; // milliseconds: browsers limit how often a page may change its address

let shown = 0;
let timer = 0;

/** Put it into the address bar, without a step in the history: at once, or soon after the time before. */
export function showView(view) {
  clearTimeout(timer);
  timer = setTimeout(put, Math.max(shown + PAUSE - performance.now(), 0), view);
}

function put(view) {
  shown = performance.now();
  const hash = formatView(view);
  const { pathname, search } = window.location;
  window.history.replaceState(null, "", pathname + search + (hash ? `#${hash}` : ""));
}
