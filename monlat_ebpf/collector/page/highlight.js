// Which cells of a grid an element has: boxes of [row, column, how many rows, how many columns].

import { namedElements } from "./diagnosis.js";

/**
 * The cells that see an element. In a grid of zones, they are those that contain its pairs.
 * @param {import("./diagnosis.js").BrokenElement} element
 * @param {{kind: string, rows: string[], columns: string[], rowZones: string[], columnZones: string[]}} grid
 * @param {Map<string, string>} zones the zone of each node
 * @returns {number[][]}
 */
export function boxesOf(element, grid, zones) {
  return namedElements(element).flatMap((each) => elementBoxes(each, grid, zones));
}

function elementBoxes({ kind, names }, grid, zones) {
  const all = (labels) => (labels.length ? [[0, labels.length]] : []);
  const isOfZones = kind === "zone_pair";
  const [rowLabels, columnLabels] = isOfZones ? [grid.rowZones, grid.columnZones] : [grid.rows, grid.columns];
  const label = (name) => (isOfZones || grid.kind === "nodes" ? name : zones.get(name));
  const rows = (name) => runsOf(rowLabels, label(name));
  const columns = (name) => runsOf(columnLabels, label(name));
  const [first, second] = names;
  if (kind === "agent") return product(rows(first), all(columnLabels));
  if (kind === "node") return [...product(rows(first), all(columnLabels)), ...product(all(rowLabels), columns(first))];
  const there = product(rows(first), columns(second));
  return label(first) === label(second) ? there : [...there, ...product(rows(second), columns(first))];
}

/** Where a label is, in runs of [first, how many]. */
function runsOf(labels, wanted) {
  const runs = [];
  labels.forEach((label, at) => {
    if (label !== wanted) return;
    if (at && labels[at - 1] === wanted) runs[runs.length - 1][1] += 1;
    else runs.push([at, 1]);
  });
  return runs;
}

function product(rows, columns) {
  return rows.flatMap(([row, height]) => columns.map(([column, width]) => [row, column, height, width]));
}
