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
  const rows = document.values_seconds ?? document.values_ratio;
  for (let row = 0; row < count; row += 1) {
    const letters = document.states[row];
    const numbers = rows[row];
    let next = 0;
    for (let column = 0; column < count; column += 1) {
      const cell = row * count + column;
      states[cell] = letters.charCodeAt(column);
      if (states[cell] === MEASURED) {
        const value = numbers[next];
        next += 1;
        if (value !== null) values[cell] = value;
      }
    }
  }
  return { nodes: document.nodes, count, states, values, measure: document.measure };
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
  const size = rows.length * columns.length;
  const states = new Uint8Array(size);
  const values = new Float32Array(size);
  let cell = 0;
  for (const row of rows) {
    const start = row * model.count;
    for (const column of columns) {
      states[cell] = model.states[start + column];
      values[cell] = model.values[start + column];
      cell += 1;
    }
  }
  const name = (number) => model.nodes[number].name;
  const zone = (number) => model.nodes[number].zone;
  return {
    kind: "nodes",
    rows: rows.map(name),
    columns: columns.map(name),
    rowZones: rows.map(zone),
    columnZones: columns.map(zone),
    states,
    values,
    counts: null,
  };
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
