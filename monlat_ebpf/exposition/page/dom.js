// Makes elements. Text is always text: a node's name cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children (elements or texts). */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** A list of terms: [title, text] each. */
export function definitions(rows) {
  return element("dl", {}, ...rows.flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)]));
}

/**
 * @param {string} id
 * @returns {any} of whatever class the page has there
 */
export function byId(id) {
  return document.getElementById(id);
}

/** Set a text if it differs: a live region must not speak the same again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
