// What is shown, kept in the address bar: a link restores it.

const PAUSE = 250; // milliseconds: browsers limit how often a page may change its address

let shown = 0;
let timer = 0;

/**
 * Read a view from the part of an address after "#". Unknown keys are left out.
 * @template {Record<string, string>} View
 * @param {string} hash
 * @param {View} empty the page's first view, with every key
 * @returns {View}
 */
export function parseAddress(hash, empty) {
  const found = [...new URLSearchParams(hash.replace(/^#/, ""))].filter(([key]) => Object.hasOwn(empty, key));
  return { ...empty, ...Object.fromEntries(found) };
}

/**
 * Put a view into the address bar, without a step in the history: at once, or soon after the time before. Only what
 * differs from the first view is written.
 * @param {Record<string, string>} view
 * @param {Record<string, string>} empty
 */
export function showAddress(view, empty) {
  clearTimeout(timer);
  timer = setTimeout(put, Math.max(shown + PAUSE - performance.now(), 0), format(view, empty));
}

function format(view, empty) {
  return new URLSearchParams(Object.entries(view).filter(([key, value]) => value !== empty[key])).toString();
}

function put(hash) {
  shown = performance.now();
  const { pathname, search } = window.location;
  window.history.replaceState(null, "", pathname + search + (hash ? `#${hash}` : ""));
}
