// What a cell says in text: for the live region, the lists and the table.

import { written } from "./measures.js";
import { LOST, MEASURED, NOT_PROBED, SELF, STALE, zoneTitle } from "./model.js";

const STATES = {
  [LOST]: "lost",
  [STALE]: "stale",
  [NOT_PROBED]: "not probed",
  [SELF]: "the node itself",
};

/** The number or the state of a cell. */
export function cellText(grid, number, measure) {
  const state = grid.states[number];
  const text = state === MEASURED ? written(measure, grid.values[number]) : STATES[state];
  const counts = grid.counts?.[number];
  if (!counts) return text;
  const all = counts[MEASURED] + counts[LOST] + counts[STALE] + counts[NOT_PROBED];
  const parts = [LOST, STALE, NOT_PROBED].filter((each) => counts[each]).map((each) => `${counts[each]} ${STATES[each]}`);
  return `${text}${state === MEASURED ? " (median)" : ""}, ${[`${all} pairs`, ...parts].join(", ")}`;
}

/**
 * The whole sentence about a cell.
 * @param {object} grid
 * @param {number[]} cell [row, column]
 * @param {object} measure
 */
export function cellSentence(grid, [row, column], measure) {
  const title = grid.kind === "zones" ? zoneTitle : (name) => name;
  const number = row * grid.columns.length + column;
  return `${title(grid.rows[row])} to ${title(grid.columns[column])}: ${cellText(grid, number, measure)}`;
}
