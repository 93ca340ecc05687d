// Draws a grid on a canvas: a square for each cell, one pixel if it must be, with putImageData.

import { written } from "./measures.js";
import { LOST, MEASURED, NOT_PROBED, SELF, STALE, zoneTitle } from "./model.js";
import { CIVIDIS, STEPS, position } from "./scale.js";
import { fill, makeStamps, stamp, stampCorner } from "./stamps.js";

const LARGEST_CELL = 56; // CSS pixels
const LEAST_WRITTEN = 40; // CSS pixels: a smaller cell has no room for its number
const LEAST_NAMED = 11; // CSS pixels: a smaller cell has no room for a name beside it
const MARGIN = 4;
const VEIL = 0.7; // how much of the cells beside a diagnosis is covered

export class Heatmap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.grid = null; // what was drawn last, and how
    this.domain = [0, 1];
    this.measure = null;
    this.isDark = false;
    this.selected = null;
    this.boxes = []; // [row, column, how many rows, how many columns]: outlined; the other cells are veiled
  }

  /**
   * Draw `grid` within `width` CSS pixels, and within `height` while names still have room; `domain` are the limits of
   * the colours.
   * @param {object} grid
   * @param {number[]} domain
   * @param {object} measure
   * @param {number[]} size
   * @param {boolean} isDark
   */
  draw(grid, domain, measure, [width, height], isDark) {
    Object.assign(this, { grid, domain, measure, isDark });
    this.ratio = window.devicePixelRatio || 1;
    this.#layOut(width, height);
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

  /**
   * The box of a cell in CSS pixels, from the canvas's corner.
   * @param {number[]} cell
   */
  boxOf([row, column]) {
    const size = this.cell / this.ratio;
    return { left: this.left / this.ratio + column * size, top: this.top / this.ratio + row * size, size };
  }

  #layOut(width, height) {
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
    const wide = Math.floor((width * ratio - this.left - MARGIN) / room);
    const high = Math.floor((height * ratio - this.top - MARGIN) / Math.max(grid.rows.length, 1));
    const fitting = Math.min(wide, Math.max(high, LEAST_NAMED * ratio));
    this.cell = Math.floor(Math.max(1, Math.min(fitting, LARGEST_CELL * ratio)));
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
    this.#drawVeil(styles.backgroundColor);
    context.fillStyle = styles.color;
    const each = (label, at) => [label, at, 1];
    if (this.isNamed) this.#drawLabels(grid.rows.map(each), grid.columns.map(each));
    else this.#drawLabels(runs(grid.rowZones), runs(grid.columnZones));
    if (cell >= LEAST_WRITTEN * ratio) this.#writeNumbers();
    context.strokeStyle = styles.color;
    context.lineWidth = 1;
    if (grid.kind === "nodes" && cell >= 3) this.#drawZoneLines();
    const accent = styles.getPropertyValue("--accent");
    for (const box of this.boxes) this.#outline(box, accent, styles.backgroundColor);
    if (this.selected) {
      const [row, column] = this.selected;
      this.#outline([row, column, 1, 1], this.isDark ? "#fff" : "#000", this.isDark ? "#000" : "#fff");
    }
  }

  /** Write the number into each measured cell. */
  #writeNumbers() {
    const { context, grid, left, top, cell, ratio, measure, domain } = this;
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    for (let number = 0; number < grid.states.length; number += 1) {
      const value = grid.values[number];
      if (grid.states[number] !== MEASURED || Number.isNaN(value)) continue;
      const [row, column] = [Math.floor(number / grid.columns.length), number % grid.columns.length];
      const isVeiled = this.boxes.length && !this.boxes.some((box) => isWithin(box, row, column));
      if (isVeiled) continue;
      context.fillStyle = position(measure.absolute ? Math.abs(value) : value, domain) > 0.5 ? "#000" : "#fff";
      context.fillText(cut(context, written(measure, value), cell), left + (column + 0.5) * cell, top + (row + 0.5) * cell);
    }
    context.textAlign = "start";
  }

  /** Cover all cells but those of the boxes, whose pixels are put again. */
  #drawVeil(colour) {
    const { context, left, top, cell, image } = this;
    if (!this.boxes.length) return;
    context.globalAlpha = VEIL;
    context.fillStyle = colour;
    context.fillRect(left, top, image.width, image.height);
    context.globalAlpha = 1;
    for (const [row, column, height, width] of this.boxes) {
      context.putImageData(image, left, top, column * cell, row * cell, width * cell, height * cell);
    }
  }

  /** Draw a frame around a box, at least 5 CSS pixels wide and high, with a halo that parts it from the colours. */
  #outline([row, column, height, width], colour, halo) {
    const { context, left, top, cell, ratio } = this;
    const [wide, high] = [width * cell, height * cell].map((size) => Math.max(size, 5 * ratio));
    const x = left + column * cell - (wide - width * cell) / 2;
    const y = top + row * cell - (high - height * cell) / 2;
    for (const [thickness, style] of [[4, halo], [2, colour]]) {
      context.lineWidth = thickness * ratio;
      context.strokeStyle = style;
      context.strokeRect(x, y, wide, high);
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

function isWithin([row, column, height, width], atRow, atColumn) {
  return atRow >= row && atRow < row + height && atColumn >= column && atColumn < column + width;
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
