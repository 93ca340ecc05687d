// The columns of the table: title, number or name for the order, text.

import { percent, seconds } from "./units.js";

const STATES = { answers: "", lost: "lost", waiting: "no probe has ended" };

/**
 * @typedef {{name: string, title: string, value: (row: import("./row.js").PeerRow) => string | number | null,
 *   text: (row: import("./row.js").PeerRow) => string, isText?: boolean}} Column
 */

const time = (name, title, value) => ({ name, title, value, text: (row) => written(value(row)) });
const text = (name, title, value) => ({ name, title, value, text: value, isText: true });

/** @type {Column[]} */
export const COLUMNS = [
  text("peer", "peer", ({ pair }) => pair.to),
  {
    name: "rtt",
    title: "RTT, last",
    value: ({ pair, state }) => (state === "lost" ? Infinity : pair.rtt_seconds.last),
    text: ({ pair, state }) => STATES[state] || seconds(pair.rtt_seconds.last),
  },
  time("p50", "p50", ({ pair }) => pair.rtt_seconds.p50),
  time("p99", "p99", ({ pair }) => pair.rtt_seconds.p99),
  time("network", "network RTT", ({ pair }) => pair.network_rtt_seconds.last),
  time("dwell", "peer's kernel", ({ pair }) => pair.peer_dwell_seconds),
  {
    name: "recent",
    title: "lost, 1 min",
    value: ({ recentLoss }) => recentLoss,
    text: ({ recentLoss }) => (recentLoss === null ? "\u2013" : percent(recentLoss)),
  },
  {
    name: "lost",
    title: "lost, all",
    value: ({ lost }) => lost,
    text: ({ lost, ended }) => `${lost} of ${ended}`,
  },
  text("zone", "zone", ({ pair }) => pair.to_zone),
  text("address", "address", ({ pair }) => pair.address),
  text("device", "device", ({ pair }) => pair.device),
];

/** @param {string} name */
export function columnOf(name) {
  return COLUMNS.find((column) => column.name === name) ?? COLUMNS[0];
}

function written(value) {
  return value === null ? "\u2013" : seconds(value);
}
