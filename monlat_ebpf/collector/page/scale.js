// Colours. Logarithmic, limited so that an outlier does not flatten the rest, and readable with colour blindness.

const FAR = 4; // times above the upper quartile, or below the lower one: where the scale ends, and outliers begin
const LEAST_FACTOR = 4; // of the whole scale: noise does not look like a difference

/**
 * The limits of the colours of some numbers above zero: from the least to the largest, but no further than FAR from
 * the quartiles, unless more than a twentieth of the numbers is there. So a single outlier never moves a limit.
 */
export function domainOf(numbers) {
  const sorted = numbers.filter((number) => number > 0).sort();
  if (!sorted.length) return [1e-6, LEAST_FACTOR * 1e-6];
  const last = sorted.length - 1;
  const at = (share) => sorted[Math.floor(share * last)];
  const fromTop = (share) => sorted[Math.ceil((1 - share) * last)];
  const low = Math.max(sorted[0], Math.min(at(0.25) / FAR, fromTop(0.95)));
  const high = Math.min(sorted[last], Math.max(fromTop(0.25) * FAR, at(0.95)));
  return [low, Math.max(high, LEAST_FACTOR * low)];
}

/**
 * Where a number is between the limits: 0 to 1, logarithmically.
 * @param {number} value
 * @param {number[]} limits
 */
export function position(value, [low, high]) {
  if (!(value > low)) return 0;
  return Math.min(Math.log(value / low) / Math.log(high / low), 1);
}

/** Cividis at 0 to 1 as red, green and blue: the polynomial of d3-scale-chromatic. */
export function cividis(t) {
  return [
    -4.54 - t * (35.34 - t * (2381.73 - t * (6402.7 - t * (7024.72 - t * 2710.57)))),
    32.49 + t * (170.73 + t * (52.82 - t * (131.46 - t * (176.58 - t * 67.37)))),
    81.24 + t * (442.36 - t * (2482.43 - t * (6167.24 - t * (6614.94 - t * 2475.67)))),
  ].map((part) => Math.round(Math.min(Math.max(part, 0), 255)));
}

/**
 * A colour in the order of a canvas's bytes on a little-endian machine.
 * @param {number[]} parts
 */
export function packed([red, green, blue]) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

export const STEPS = 256;
export const CIVIDIS = Uint32Array.from({ length: STEPS }, (_, step) => packed(cividis(step / (STEPS - 1))));

/** The colours of the states, for light and dark paper. */
export function stateColours(isDark) {
  return isDark
    ? { paper: [32, 38, 46], mark: [150, 162, 180], stale: [84, 94, 110], staleMark: [150, 162, 180], lost: [255, 40, 140], lostMark: [20, 0, 10] }
    : { paper: [236, 239, 244], mark: [110, 122, 142], stale: [168, 178, 194], staleMark: [96, 106, 124], lost: [194, 0, 95], lostMark: [255, 255, 255] };
}
