// The answer of /api/v1/matrix as arrays, and what is drawn of it: a grid of nodes or of zones.

export const SELF = 45; // "-"
export const MEASURED = 109; // m
export const LOST = 108; // l
export const NOT_PROBED = 110; // n
export const STALE = 115; // s

/** Parse the document: states and values by cell, row after row; a value is NaN where there is none. */
export function parseMatrix(document) {
  const count = document.nodes.length;
  const states = new Uint8Array(count * count);
  const values = new Float32Array(count * count).fill(NaN);
  const numbers = document.values_seconds ?? document.values_ratio;
  const encoder = new TextEncoder();
  document.states.forEach((letters, row) => {
    encoder.encodeInto(letters, states.subarray(row * count));
    let column = -1;
    for (const value of numbers[row]) {
      column = letters.indexOf("m", column + 1); // most cells of a large cluster are not probed
      if (value !== null) values[row * count + column] = value;
    }
  });
  const { nodes, measure, unix_seconds: unixSeconds } = document;
  return { nodes, count, states, values, measure, unixSeconds };
}

/** The numbers of the nodes that a filter names: part of a name, or zone=NAME. Empty: all. */
export function filtered(nodes, filter) {
  const wanted = filter.trim().toLowerCase();
  const zone = wanted.startsWith("zone=") ? wanted.slice(5) : null;
  const matches = (node) =>
    zone === null ? node.name.toLowerCase().includes(wanted) : node.zone.toLowerCase() === zone;
  return nodes.flatMap((node, number) => (matches(node) ? [number] : []));
}

/** A grid of nodes: what is drawn. `lost` counts the lost pairs of a cell. */
export function nodeGrid(model, rowFilter, columnFilter) {
  const rows = filtered(model.nodes, rowFilter);
  const columns = filtered(model.nodes, columnFilter);
  const isWhole = rows.length === model.count && columns.length === model.count;
  const cut = (cells) => (isWhole ? cells : cutOut(cells, model.count, rows, columns));
  const name = (number) => model.nodes[number].name;
  const zone = (number) => model.nodes[number].zone;
  return {
    kind: "nodes",
    rows: rows.map(name),
    columns: columns.map(name),
    rowZones: rows.map(zone),
    columnZones: columns.map(zone),
    states: cut(model.states),
    values: cut(model.values),
    counts: null,
  };
}

function cutOut(cells, count, rows, columns) {
  const found = new cells.constructor(rows.length * columns.length);
  let cell = 0;
  for (const row of rows) {
    for (const column of columns) {
      found[cell] = cells[row * count + column];
      cell += 1;
    }
  }
  return found;
}

export function zonesOf(nodes) {
  return [...new Set(nodes.map((node) => node.zone))];
}

export function zoneTitle(zone) {
  return zone || "(no zone)";
}

/**
 * A grid of zones. The value of a cell is the median of its measured pairs; `counts` says how many pairs of each
 * state it has. Its state is that of the pairs that have a number, else lost, stale or not probed, in this order.
 */
export function zoneGrid(model) {
  const zones = zonesOf(model.nodes);
  const number = new Map(zones.map((zone, index) => [zone, index]));
  const zoneOf = model.nodes.map((node) => number.get(node.zone));
  const counts = Array.from({ length: zones.length ** 2 }, () => ({ [MEASURED]: 0, [LOST]: 0, [STALE]: 0, [NOT_PROBED]: 0 }));
  const found = counts.map(() => []);
  for (let row = 0; row < model.count; row += 1) {
    for (let column = 0; column < model.count; column += 1) {
      const state = model.states[row * model.count + column];
      if (state === SELF) continue;
      const cell = zoneOf[row] * zones.length + zoneOf[column];
      counts[cell][state] += 1;
      const value = model.values[row * model.count + column];
      if (!Number.isNaN(value)) found[cell].push(value);
    }
  }
  const stateOf = (count) => [MEASURED, LOST, STALE].find((state) => count[state]) ?? NOT_PROBED;
  return {
    kind: "zones",
    rows: zones,
    columns: zones,
    rowZones: zones,
    columnZones: zones,
    states: Uint8Array.from(counts, stateOf),
    values: Float32Array.from(found, median),
    counts,
  };
}

export function median(numbers) {
  if (!numbers.length) return NaN;
  const sorted = Float64Array.from(numbers).sort();
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
