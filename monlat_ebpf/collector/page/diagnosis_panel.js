// The panel that names what is broken: a button for each diagnosis, its evidence, and a live region.

import { keyOf, summary } from "./diagnosis.js";
import { byId, element, setText } from "./dom.js";
import { ago, percent } from "./units.js";

const MOST_CANDIDATES = 8;

/** @type {Map<string, {item: Element, button: Element, when: Element, evidence: Element}>} */
const shown = new Map(); // by key; items stay while their diagnosis does, so that the focus does, too
/** @type {Map<string, string>} */
let announced = new Map(); // the titles of the diagnoses that the live region has said, by key and first window

/**
 * Show the answer of the collector.
 * @param {import("./diagnosis.js").DiagnosisDocument} document
 * @param {number} now the collector's time, in seconds
 * @param {string} chosen the key of the chosen diagnosis, or ""
 * @param {(key: string) => void} choose is called with the key of the one that the user chooses
 */
export function showDiagnoses(document, now, chosen, choose) {
  const { meaning, text } = summary(document, now);
  byId("diagnosis").dataset.meaning = meaning;
  setText(byId("summary"), text);
  showWindow(document, now);
  const list = byId("diagnoses");
  const keys = document.diagnoses.map(keyOf);
  for (const [key, { item }] of shown) {
    if (keys.includes(key)) continue;
    item.remove();
    shown.delete(key);
  }
  document.diagnoses.forEach((diagnosis, at) => {
    const parts = shown.get(keys[at]) ?? made(keys[at], choose);
    fill(parts, diagnosis, now, chosen === keys[at]);
    if (list.children[at] !== parts.item) list.insertBefore(parts.item, list.children[at] ?? null);
  });
  announce(document.diagnoses);
}

/** Say why there is no diagnosis. What was shown before is old, so it goes. */
export function showNoDiagnosis(text) {
  byId("diagnosis").dataset.meaning = "blind";
  setText(byId("summary"), text);
  setText(byId("window"), "");
  byId("diagnoses").replaceChildren();
  shown.clear();
}

function showWindow({ window, window_seconds: length, unix_seconds: closed }, now) {
  const text = window ? `Window ${window}, of ${length} s, closed ${ago(Math.max(now - closed, 0))}.` : "";
  setText(byId("window"), text);
}

function made(key, choose) {
  const button = element("button", { type: "button" });
  const when = element("p", { class: "when" });
  const evidence = element("ul");
  const item = element("li", {}, button, when, evidence);
  button.addEventListener("click", () => choose(key));
  shown.set(key, { item, button, when, evidence });
  return shown.get(key);
}

function fill({ button, when, evidence }, diagnosis, now, isChosen) {
  setText(button, diagnosis.title);
  button.setAttribute("aria-pressed", String(isChosen));
  const since = diagnosis.since_unix_seconds;
  const sure = diagnosis.kind === "undetermined" ? "" : `confidence ${percent(diagnosis.confidence_ratio)}, `;
  const closing = diagnosis.state === "closing" ? ", not seen in the last window" : "";
  const clock = new Date(since * 1000).toLocaleTimeString();
  setText(when, `${sure}since ${clock} (${ago(Math.max(now - since, 0))})${closing}`);
  const candidates = diagnosis.candidates.map((each) => `may be ${each.title}`);
  const rest = candidates.length - MOST_CANDIDATES;
  const lines = [
    ...diagnosis.evidence.map((each) => each.text),
    ...candidates.slice(0, MOST_CANDIDATES),
    ...(rest > 0 ? [`or one of ${rest} more`] : []),
  ];
  while (evidence.children.length > lines.length) evidence.lastChild.remove();
  lines.forEach((line, at) => setText(evidence.children[at] ?? evidence.appendChild(element("li")), line));
}

/** Say each diagnosis once when it is new, and once when it has ended. */
function announce(diagnoses) {
  const now = new Map(diagnoses.map((each) => [`${keyOf(each)} ${each.since_window}`, each.title]));
  const fresh = [...now].filter(([key]) => !announced.has(key)).map(([, title]) => `Diagnosis: ${title}.`);
  const ended = [...announced].filter(([key]) => !now.has(key)).map(([, title]) => `No longer: ${title}.`);
  if (fresh.length || ended.length) setText(byId("news"), [...fresh, ...ended].join(" "));
  announced = now;
}
