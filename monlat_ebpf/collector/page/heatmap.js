// Draws a grid on a canvas: a square for each cell, one pixel if it must be, with putImageData.

import { CIVIDIS, STEPS, packed, position, stateColours } from "./scale.js";
import { LOST, MEASURED, NOT_PROBED, SELF, STALE, zoneTitle } from "./model.js";

const LARGEST_CELL = 56; // CSS pixels
const LEAST_MARKED = 5; // device pixels: a smaller cell has no room for a mark
const LEAST_NAMED = 11; // CSS pixels: a smaller cell has no room for a name beside it
const MARGIN = 4;

export class Heatmap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.grid = null;
    this.selected = null;
  }

  /** Draw `grid` within `width` CSS pixels; `domain` are the limits of the colours. */
  draw(grid, domain, measure, width, isDark) {
    Object.assign(this, { grid, domain, measure, isDark });
    this.ratio = window.devicePixelRatio || 1;
    this.#layOut(width);
    this.#paintCells();
    this.#drawOver();
  }

  /** Outline a cell, [row, column] or null. */
  select(cell) {
    this.selected = cell;
    if (this.grid && this.image) this.#drawOver();
  }

  /** The cell at a point of the canvas in CSS pixels; null beside the cells. */
  cellAt(x, y) {
    const column = Math.floor((x * this.ratio - this.left) / this.cell);
    const row = Math.floor((y * this.ratio - this.top) / this.cell);
    const inside = row >= 0 && column >= 0 && row < this.grid.rows.length && column < this.grid.columns.length;
    return inside ? [row, column] : null;
  }

  /** The box of a cell in CSS pixels, from the canvas's corner. */
  boxOf([row, column]) {
    const size = this.cell / this.ratio;
    return { left: this.left / this.ratio + column * size, top: this.top / this.ratio + row * size, size };
  }

  #layOut(width) {
    const { grid, ratio, context } = this;
    const widthOf = (label) => context.measureText(this.#title(label)).width;
    const names = (labels) => Math.ceil(Math.max(0, ...labels.map(widthOf)));
    context.font = "12px system-ui, sans-serif";
    const most = Math.min(width / 3, 140);
    const room = Math.max(grid.columns.length, 1);
    const named = Math.min(names(grid.rows.slice(0, 200)) + 2 * MARGIN, most);
    this.isNamed = Math.floor((width - named) / room) >= LEAST_NAMED;
    const labels = this.isNamed ? [grid.rows, grid.columns] : [grid.rowZones, grid.columnZones];
    const [beside, above] = labels.map((all) => Math.min(names([...new Set(all)].slice(0, 200)) + 2 * MARGIN, most));
    this.left = Math.ceil(beside * ratio);
    this.top = Math.ceil(above * ratio);
    const cell = Math.floor((width * ratio - this.left - MARGIN) / room);
    this.cell = Math.max(1, Math.min(cell, Math.round(LARGEST_CELL * ratio)));
    const { canvas } = this;
    canvas.width = this.left + this.cell * grid.columns.length + MARGIN;
    canvas.height = this.top + this.cell * grid.rows.length + MARGIN;
    canvas.dataset.cells = `${this.left} ${this.top} ${this.cell}`; // for who reads pixels
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.style.height = `${canvas.height / ratio}px`;
  }

  #title(label) {
    return label === "" ? zoneTitle(label) : label; // a node has a name, a zone may have none
  }

  #paintCells() {
    const { grid, cell } = this;
    if (!grid.rows.length || !grid.columns.length) {
      this.image = null;
      return;
    }
    const width = grid.columns.length * cell;
    this.image = new ImageData(width, grid.rows.length * cell);
    const pixels = new Uint32Array(this.image.data.buffer);
    const stamps = makeStamps(cell, this.isDark);
    if (cell === 1) {
      this.#paintPixels(pixels, stamps);
      return;
    }
    for (let number = 0; number < grid.states.length; number += 1) {
      const state = grid.states[number];
      const value = grid.values[number];
      const isKnown = state === MEASURED && !Number.isNaN(value);
      const square = stamps[state === MEASURED ? "unknown" : state];
      const column = number % grid.columns.length;
      const start = ((number - column) / grid.columns.length) * cell * width + column * cell;
      if (isKnown) fill(pixels, start, width, cell, this.#colour(value), stamps.gap);
      else stamp(pixels, start, width, cell, square);
      if (state === MEASURED && grid.counts?.[number][LOST]) stampCorner(pixels, start, width, cell, stamps.corner);
    }
  }

  #paintPixels(pixels, stamps) {
    const { states, values } = this.grid;
    const colours = new Uint32Array(256); // by state
    for (const state of [LOST, STALE, NOT_PROBED, SELF]) [colours[state]] = stamps[state];
    [colours[MEASURED]] = stamps.unknown;
    for (let number = 0; number < states.length; number += 1) {
      const isKnown = states[number] === MEASURED && !Number.isNaN(values[number]);
      pixels[number] = isKnown ? this.#colour(values[number]) : colours[states[number]];
    }
  }

  #colour(value) {
    const size = this.measure.absolute ? Math.abs(value) : value;
    return CIVIDIS[Math.round(position(size, this.domain) * (STEPS - 1))];
  }

  #drawOver() {
    const { context, canvas, grid, left, top, cell, ratio } = this;
    const styles = getComputedStyle(canvas);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.image) return;
    context.putImageData(this.image, left, top);
    context.fillStyle = styles.color;
    const each = (label, at) => [label, at, 1];
    if (this.isNamed) this.#drawLabels(grid.rows.map(each), grid.columns.map(each));
    else this.#drawLabels(runs(grid.rowZones), runs(grid.columnZones));
    context.strokeStyle = styles.color;
    context.lineWidth = 1;
    if (grid.kind === "nodes" && cell >= 3) this.#drawZoneLines();
    if (this.selected) {
      const [row, column] = this.selected;
      const grown = Math.max(cell, 5 * ratio);
      const shift = (grown - cell) / 2;
      const box = [left + column * cell - shift, top + row * cell - shift, grown, grown];
      context.lineWidth = 4 * ratio;
      context.strokeStyle = this.isDark ? "#000" : "#fff";
      context.strokeRect(...box);
      context.lineWidth = 2 * ratio;
      context.strokeStyle = this.isDark ? "#fff" : "#000";
      context.strokeRect(...box);
    }
  }

  /** Write labels beside the rows and above the columns: [text, first cell, how many cells] each. */
  #drawLabels(rows, columns) {
    const { context, left, top, cell, ratio } = this;
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const gap = MARGIN * ratio;
    for (const [label, first, count] of rows) {
      context.fillText(cut(context, this.#title(label), left - 2 * gap), gap, top + (first + count / 2) * cell);
    }
    context.save();
    context.rotate(-Math.PI / 2);
    for (const [label, first, count] of columns) {
      context.fillText(cut(context, this.#title(label), top - 2 * gap), gap - top, left + (first + count / 2) * cell);
    }
    context.restore();
  }

  #drawZoneLines() {
    const { context, grid, left, top, cell } = this;
    const right = left + cell * grid.columns.length;
    const bottom = top + cell * grid.rows.length;
    context.beginPath();
    grid.rowZones.forEach((zone, row) => {
      if (row && zone !== grid.rowZones[row - 1]) line(context, left, top + row * cell, right, top + row * cell);
    });
    grid.columnZones.forEach((zone, column) => {
      if (column && zone !== grid.columnZones[column - 1]) line(context, left + column * cell, top, left + column * cell, bottom);
    });
    context.stroke();
  }
}

/** Equal labels beside each other as [text, first, count]. */
function runs(labels) {
  const found = [];
  labels.forEach((label, at) => {
    if (at && label === labels[at - 1]) found[found.length - 1][2] += 1;
    else found.push([label, at, 1]);
  });
  return found;
}

function line(context, x, y, endX, endY) {
  context.moveTo(x, y);
  context.lineTo(endX, endY);
}

function cut(context, text, room) {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
  return shown;
}

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

function fill(pixels, start, width, size, colour, gap) {
  for (let y = 0; y < size - gap; y += 1) {
    const line = start + y * width;
    pixels.fill(colour, line, line + size - gap);
  }
}

function stamp(pixels, start, width, size, square) {
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) pixels[start + y * width + x] = square[y * size + x];
  }
}

/** Whether a pixel of a cell is in the triangle in its upper right corner. */
export function isCorner(x, y, size) {
  return x - y >= size - Math.ceil(size / 3);
}

/** Mark a zone cell some of whose pairs are lost: a triangle in its upper right corner. */
function stampCorner(pixels, start, width, size, colour) {
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) if (isCorner(x, y, size)) pixels[start + y * width + x] = colour;
  }
}
