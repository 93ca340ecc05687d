// The worst pairs and the agents that do not answer, in text.

import { explains } from "./diagnosis.js";
import { element, byId } from "./dom.js";
import { LOST, MEASURED } from "./model.js";
import { written } from "./measures.js";
import { ago } from "./units.js";

const MOST = 20;

/** The cells of a model that are lost, then those with the largest numbers: [row, column] each. */
export function worstCells(model, most = MOST) {
  const lost = [];
  const worst = []; // sorted, the largest first
  const size = (cell) => Math.abs(model.values[cell]);
  for (let cell = 0; cell < model.states.length; cell += 1) {
    const state = model.states[cell];
    if (state === LOST) {
      if (lost.length < most) lost.push(cell);
    } else if (state === MEASURED && size(cell) > 0) {
      if (worst.length === most && size(cell) <= size(worst[most - 1])) continue;
      const at = worst.findIndex((other) => size(other) < size(cell));
      worst.splice(at < 0 ? worst.length : at, 0, cell);
      if (worst.length > most) worst.pop();
    }
  }
  return [...lost, ...worst].slice(0, most).map((cell) => [Math.floor(cell / model.count), cell % model.count]);
}

/**
 * Show the worst pairs, each with the diagnosis that explains it; `open` is called with the names of the chosen pair.
 * @param {import("./diagnosis.js").Diagnosis[]} diagnoses
 */
export function showWorst(model, measure, diagnoses, open) {
  const items = worstCells(model).map(([row, column]) => {
    const [from, to] = [model.nodes[row], model.nodes[column]];
    const cell = row * model.count + column;
    const text = model.states[cell] === LOST ? "lost" : written(measure, model.values[cell]);
    const button = element("button", { type: "button" }, `${from.name} to ${to.name}: ${text}`);
    button.addEventListener("click", () => open(from.name, to.name));
    const why = diagnoses.find((each) => explains(each, from, to));
    return element("li", {}, button, ...(why ? [element("small", {}, ` ${why.title}`)] : []));
  });
  replaceItems(byId("worst"), items, "no pair has a number above zero");
}

/** Show the nodes whose answers are stale or never came. */
export function showMissing(model) {
  const items = model.nodes
    .filter((node) => node.is_stale)
    .map((node) => {
      const when = node.age_seconds === null ? "never answered" : `last answered ${ago(node.age_seconds)}`;
      return element("li", {}, `${node.name}: ${when}${node.failure_text ? `; it ${node.failure_text}` : ""}`);
    });
  replaceItems(byId("missing"), items, "none");
}

/** Replace the items of a list, but not while the focus is inside. */
function replaceItems(list, items, empty) {
  if (list.contains(document.activeElement)) return;
  list.replaceChildren(...(items.length ? items : [element("li", {}, empty)]));
}
