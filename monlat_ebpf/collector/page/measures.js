// The measures that the page can show, and how their numbers are written.

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

/** 0.000436 is "436 µs". */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not known";
  const size = Math.abs(Number(value.toPrecision(3))); // 0.9999 ms is 1 ms
  if (size >= 1) return `${digits(value)} s`;
  if (size >= 1e-3) return `${digits(value * 1e3)} ms`;
  return `${digits(value * 1e6)} µs`;
}

export function percent(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "not known" : `${digits(value * 100)} %`;
}

/** A number of the measure, with its unit. */
export function written(measure, value) {
  if (measure.share) return percent(value);
  if (measure.factor) return Number.isNaN(value) || value === null ? "not known" : `${digits(value)} times`;
  return seconds(value);
}

/** How long ago, in whole seconds, minutes or hours. */
export function ago(value) {
  if (value < 120) return `${Math.round(value)} s ago`;
  return value < 7200 ? `${Math.round(value / 60)} min ago` : `${Math.round(value / 3600)} h ago`;
}

function digits(value) {
  return Number(value.toPrecision(3)).toString();
}
