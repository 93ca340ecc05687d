// How numbers are written, with their units.

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

/** How long ago, in whole seconds, minutes or hours. */
export function ago(value) {
  if (value < 120) return `${Math.round(value)} s ago`;
  return value < 7200 ? `${Math.round(value / 60)} min ago` : `${Math.round(value / 3600)} h ago`;
}

/** Three digits, without zeros at the end. */
export function digits(value) {
  return Number(value.toPrecision(3)).toString();
}
