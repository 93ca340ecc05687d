// What the colours and the marks mean.

import { element } from "./dom.js";
import { LOST, NOT_PROBED, SELF, STALE } from "./model.js";
import { CIVIDIS, STEPS } from "./scale.js";
import { isCorner, makeStamps } from "./stamps.js";
import { written } from "./measures.js";

const SQUARE = 14;
const MARKS = [
  [LOST, "lost"],
  [STALE, "stale: the agent does not answer"],
  [NOT_PROBED, "not probed"],
  ["unknown", "measured, this number not known"],
];

/**
 * Fill the legend: the scale with its limits, and a square for each state.
 * @param {HTMLElement} target
 * @param {object} measure
 * @param {number[]} limits of the colours
 */
export function showLegend(target, measure, [low, high], kind, isDark) {
  const shown = `${measure.name} ${low} ${high} ${kind} ${isDark}`;
  if (target.dataset.shown === shown) return;
  target.dataset.shown = shown;
  const stamps = makeStamps(SQUARE, isDark);
  const scale = drawn(STEPS / 2, SQUARE, (x) => CIVIDIS[x * 2]);
  const corner = (x, y) => (isCorner(x, y, SQUARE) ? stamps.corner : stamps[SELF][SQUARE]);
  const zoneMark = element("span", {}, drawn(SQUARE, SQUARE, corner), " some of the zones' pairs are lost");
  target.replaceChildren(
    element("span", {}, `${written(measure, low)} or less `, scale, ` ${written(measure, high)} or more`),
    ...MARKS.map(([state, text]) =>
      element("span", {}, drawn(SQUARE, SQUARE, (x, y) => stamps[state][y * SQUARE + x]), ` ${text}`),
    ),
    ...(kind === "zones" ? [zoneMark] : []),
  );
}

function drawn(width, height, colourAt) {
  const canvas = element("canvas", { width, height, "aria-hidden": "true" });
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  pixels.forEach((_, at) => {
    pixels[at] = colourAt(at % width, Math.floor(at / width));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
