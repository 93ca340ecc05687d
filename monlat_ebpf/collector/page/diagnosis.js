// The answer of /api/v1/diagnosis: which element is broken, which pairs it explains, and what is known at all.

import { ago } from "./units.js";

/**
 * @typedef {{kind: string, names: string[], title: string}} BrokenElement
 * @typedef {{symptom: string, text: string}} Evidence
 * @typedef {BrokenElement & {state: string, confidence_ratio: number, since_unix_seconds: number, since_window: number,
 *   candidates: BrokenElement[], evidence: Evidence[]}} Diagnosis
 * @typedef {{unix_seconds: number | null, window_seconds: number, window: number, agents: number,
 *   agents_answering: number, diagnoses: Diagnosis[]}} DiagnosisDocument
 */

const LATE_WINDOWS = 3; // after so many windows without a new one, what was decided is old

/**
 * The key of an element, for the address bar.
 * @param {BrokenElement} diagnosis
 */
export function keyOf({ kind, names }) {
  return [kind, ...names].map(encodeURIComponent).join("/");
}

/**
 * The element of a key that nobody reports any more: enough to find its cells.
 * @param {string} key
 * @returns {BrokenElement}
 */
export function elementOf(key) {
  const [kind, ...names] = key.split("/").map(decoded);
  return { kind, names, title: [kind.replace("_", " "), ...names].join(" ") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an address that was cut off
  }
}

/**
 * The elements whose cells an element has: itself, or what an undetermined one may be.
 * @param {BrokenElement & {candidates?: BrokenElement[]}} element
 * @returns {BrokenElement[]}
 */
export function namedElements(element) {
  if (element.kind !== "undetermined") return [element];
  if (element.candidates?.length) return element.candidates;
  return element.names.map((name) => ({ kind: "agent", names: [name], title: name })); // agents without an answer
}

/**
 * Whether an element explains what the cell from one node to another shows.
 * @param {BrokenElement} element
 * @param {{name: string, zone: string}} from
 * @param {{name: string, zone: string}} to
 */
export function explains(element, from, to) {
  return namedElements(element).some(({ kind, names: [first, second] }) => {
    const isPair = (one, other) => (first === one && second === other) || (first === other && second === one);
    if (kind === "node") return first === from.name || first === to.name;
    if (kind === "agent") return first === from.name;
    return kind === "zone_pair" ? isPair(from.zone, to.zone) : isPair(from.name, to.name);
  });
}

/**
 * What is known, in a sentence, and how it is meant: "ok", "broken", or "blind" where the answer may hide a fault.
 * @param {DiagnosisDocument} document
 * @param {number} now the collector's time, in seconds
 * @returns {{meaning: "ok" | "broken" | "blind", text: string}}
 */
export function summary(document, now) {
  const { agents, agents_answering: answering, diagnoses, unix_seconds: closed, window, window_seconds: length } = document;
  const count = `${answering} of ${agents} agents answer`;
  if (!agents) return { meaning: "blind", text: "There are no agents in the list." };
  if (!window) return { meaning: "blind", text: `No window has closed yet, so nothing is decided; ${count}.` };
  const late = now - closed > LATE_WINDOWS * length ? ` The last window closed ${ago(now - closed)}: this is old.` : "";
  if (diagnoses.length) {
    const open = diagnoses.length === 1 ? "1 diagnosis is open" : `${diagnoses.length} diagnoses are open`;
    return { meaning: "broken", text: `${open}; ${count}.${late}` };
  }
  if (!answering) return { meaning: "blind", text: `Nothing is known: ${count}.${late}` };
  const text = `Nothing is known to be broken; ${count}.${late}`;
  return { meaning: answering < agents || late ? "blind" : "ok", text };
}
