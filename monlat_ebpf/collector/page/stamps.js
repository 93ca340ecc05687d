// The squares of cells that have a state in place of a number, and how cells are filled.

import { LOST, NOT_PROBED, SELF, STALE } from "./model.js";
import { packed, stateColours } from "./scale.js";

const LEAST_MARKED = 5; // device pixels: a smaller cell has no room for a mark

/** A square of `size` pixels for each state: its colour, and the mark that says the state without colour. */
export function makeStamps(size, isDark) {
  const colours = stateColours(isDark);
  const thick = Math.max(1, Math.round(size / 10));
  const middle = (size - 1) / 2;
  const isMarked = size >= LEAST_MARKED;
  const make = (ground, mark, isOn) =>
    Uint32Array.from({ length: size * size }, (_, at) => {
      const x = at % size;
      const y = Math.floor(at / size);
      return packed(isMarked && isOn(x, y) ? mark : ground);
    });
  const cross = (x, y) =>
    Math.min(Math.abs(x - y), Math.abs(x + y - size + 1)) < thick && Math.abs(x - middle) < size * 0.36;
  return {
    [LOST]: make(colours.lost, colours.lostMark, cross),
    [STALE]: make(colours.stale, colours.staleMark, (x, y) => (x + y) % Math.max(4, 3 * thick) < thick),
    [NOT_PROBED]: make(colours.paper, colours.mark, (x, y) => Math.hypot(x - middle, y - middle) <= thick),
    [SELF]: make(colours.paper, colours.mark, (x, y) => x === y),
    unknown: make(colours.paper, colours.mark, (x, y) => Math.abs(y - middle) < thick && Math.abs(x - middle) < size / 4),
    corner: packed(colours.lost),
    gap: size >= LEAST_MARKED ? 1 : 0,
  };
}

/** Fill a cell with one colour, but for a gap to the next cell. */
export function fill(pixels, start, width, size, colour, gap) {
  for (let y = 0; y < size - gap; y += 1) {
    const line = start + y * width;
    pixels.fill(colour, line, line + size - gap);
  }
}

/** Copy a square of pixels into a cell. */
export function stamp(pixels, start, width, size, square) {
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) pixels[start + y * width + x] = square[y * size + x];
  }
}

/** Whether a pixel of a cell is in the triangle in its upper right corner. */
export function isCorner(x, y, size) {
  return x - y >= size - Math.ceil(size / 3);
}

/** Mark a zone cell some of whose pairs are lost: a triangle in its upper right corner. */
export function stampCorner(pixels, start, width, size, colour) {
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) if (isCorner(x, y, size)) pixels[start + y * width + x] = colour;
  }
}
