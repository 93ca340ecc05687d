// The measures that the page can show, and how their numbers are written.

import { digits, percent, seconds } from "./units.js";

export const MEASURES = [
  { name: "rtt", title: "RTT, last" },
  { name: "rtt_p50", title: "RTT, p50" },
  { name: "rtt_p99", title: "RTT, p99" },
  { name: "rtt_over_past", title: "RTT, against the pair's own past", domain: [0.5, 8], factor: true },
  { name: "network_rtt", title: "network RTT, last" },
  { name: "network_rtt_p50", title: "network RTT, p50" },
  { name: "network_rtt_p99", title: "network RTT, p99" },
  { name: "dwell", title: "dwell in the peer's kernel, last" },
  { name: "clock_offset", title: "clock offset, absolute", absolute: true },
  { name: "loss", title: "loss, all", domain: [0.001, 1], share: true },
  { name: "loss_host", title: "loss on the asking host", domain: [0.001, 1], share: true },
  { name: "loss_forward", title: "loss on the way there", domain: [0.001, 1], share: true },
  { name: "loss_return", title: "loss on the way back", domain: [0.001, 1], share: true },
  { name: "loss_network", title: "loss in the network", domain: [0.001, 1], share: true },
  { name: "loss_unreachable", title: "loss, unreachable", domain: [0.001, 1], share: true },
];

export function measureOf(name) {
  return MEASURES.find((measure) => measure.name === name) ?? MEASURES[0];
}

/** The key under which a document has the measure: it ends in its unit. */
export function keyOf(measure) {
  return `${measure.name}_${measure.share || measure.factor ? "ratio" : "seconds"}`;
}

/** A number of the measure, with its unit. */
export function written(measure, value) {
  if (measure.share) return percent(value);
  if (measure.factor) return Number.isNaN(value) || value === null ? "not known" : `${digits(value)} times`;
  return seconds(value);
}
