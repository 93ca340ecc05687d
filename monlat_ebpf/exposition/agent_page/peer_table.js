// The table of the peers. Only the rows in view are elements: 5,000 peers scroll as smoothly as five.

import { COLUMNS } from "./columns.js";
import { element, setText } from "./dom.js";

const BEYOND = 8; // rows above and below the view, so that a step of the wheel finds them there
const USUAL_HEIGHT = 28; // CSS pixels of a row, until one can be measured

export class PeerTable {
  /**
   * @param {HTMLElement} scroller with an element of the height of all rows, which has the table
   * @param {(name: string) => void} open called with the name of a peer
   * @param {(column: string) => void} sort called with the name of a column
   */
  constructor(scroller, open, sort) {
    this.scroller = scroller;
    this.extent = /** @type {HTMLElement} */ (scroller.firstElementChild);
    this.table = scroller.querySelector("table");
    this.body = this.table.tBodies[0];
    this.open = open;
    /** @type {import("./row.js").PeerRow[]} */
    this.rows = [];
    this.chosen = "";
    /** @type {Map<number, HTMLTableRowElement>} */
    this.elements = new Map(); // by position among all rows
    this.height = USUAL_HEIGHT;
    this.heads = COLUMNS.map(({ name, title, isText }) => {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => sort(name));
      return element("th", { scope: "col", ...styled(isText) }, button);
    });
    this.table.tHead.append(element("tr", { "aria-rowindex": 1 }, ...this.heads));
    scroller.addEventListener("scroll", () => this.#fill(false));
    scroller.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /**
   * Show rows in their order.
   * @param {import("./row.js").PeerRow[]} rows
   * @param {string} chosen the name of the peer that is open, or ""
   * @param {string} sortedBy the name of a column
   * @param {boolean} isDescending
   */
  show(rows, chosen, sortedBy, isDescending) {
    Object.assign(this, { rows, chosen });
    this.table.setAttribute("aria-rowcount", String(rows.length + 1));
    this.heads.forEach((head, at) => {
      const isSorted = COLUMNS[at].name === sortedBy;
      head.setAttribute("aria-sort", isSorted ? (isDescending ? "descending" : "ascending") : "none");
    });
    this.#fill(true);
  }

  /** Make the elements of the rows in view. Those that are there already are written only if `isChanged`. */
  #fill(isChanged) {
    const { scroller, rows, body, elements } = this;
    const head = this.table.tHead.offsetHeight;
    this.extent.style.height = `${head + rows.length * this.height}px`;
    const inView = Math.ceil(scroller.clientHeight / this.height);
    const top = Math.floor(scroller.scrollTop / this.height);
    const first = Math.max(0, Math.min(top, rows.length - inView) - BEYOND);
    const last = Math.min(rows.length, top + inView + BEYOND);
    for (const [at, row] of elements) {
      if (at >= first && at < last) continue;
      if (row.contains(document.activeElement)) scroller.focus(); // the row goes, and the focus would with it
      row.remove();
      elements.delete(at);
    }
    this.table.style.marginTop = `${first * this.height}px`;
    for (let at = first; at < last; at += 1) {
      const known = elements.get(at);
      const row = known ?? this.#make(at);
      if (body.children[at - first] !== row) body.insertBefore(row, body.children[at - first] ?? null);
      if (isChanged || !known) this.#write(row, at);
    }
    const measured = body.firstElementChild?.getBoundingClientRect().height;
    if (measured && Math.abs(measured - this.height) > 0.5) {
      this.height = measured;
      this.#fill(false);
    }
  }

  #make(at) {
    const button = element("button", { type: "button" });
    button.addEventListener("click", () => this.open(button.textContent));
    const cells = COLUMNS.slice(1).map(({ isText }) => element("td", styled(isText)));
    const row = element("tr", {}, element("th", { scope: "row" }, button), ...cells);
    this.elements.set(at, row);
    return row;
  }

  #write(element, at) {
    const row = this.rows[at];
    element.setAttribute("aria-rowindex", String(at + 2)); // the head is the first
    element.classList.toggle("chosen", row.pair.to === this.chosen);
    COLUMNS.forEach((column, number) => {
      const cell = element.cells[number];
      setText(number ? cell : cell.firstElementChild, column.text(row));
      if (column.name === "rtt") cell.classList.toggle("lost", row.state === "lost");
    });
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || !this.rows.length) return;
    const [current] = [...this.elements].find(([, row]) => row.contains(document.activeElement)) ?? [];
    const top = Math.floor(this.scroller.scrollTop / this.height);
    const next = current === undefined ? top : Math.min(Math.max(current + step, 0), this.rows.length - 1);
    this.#scrollTo(next);
    this.elements.get(next).querySelector("button").focus({ preventScroll: true });
    event.preventDefault();
  }

  #scrollTo(at) {
    const { scroller, height } = this;
    const room = scroller.clientHeight - this.table.tHead.offsetHeight;
    const top = at * height;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + height > scroller.scrollTop + room) scroller.scrollTop = top + height - room;
    this.#fill(false);
  }
}

function styled(isText) {
  return isText ? { class: "text" } : {};
}
