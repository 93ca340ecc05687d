// The matrix as a table: all of it while it is small, else the row and the column of the selected node.

import { byId, element } from "./dom.js";
import { zoneTitle } from "./model.js";
import { cellText } from "./sentences.js";

const MOST_CELLS = 2500;

/** Fill the table if it is open. `selected` is [row, column] or null. */
export function showTable(grid, measure, selected) {
  if (!byId("table-part").open) return;
  const small = grid.states.length <= MOST_CELLS;
  byId("table").replaceChildren(small ? wholeTable(grid, measure) : partTable(grid, measure, selected));
}

function wholeTable(grid, measure) {
  const title = grid.kind === "zones" ? zoneTitle : (name) => name;
  const head = grid.columns.map((name) => element("th", { scope: "col" }, title(name)));
  const rows = grid.rows.map((name, row) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, title(name)),
      ...grid.columns.map((_, column) =>
        element("td", {}, cellText(grid, row * grid.columns.length + column, measure)),
      ),
    ),
  );
  return element(
    "table",
    {},
    element("caption", {}, `${measure.title}: from row to column`),
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "from \\ to"), ...head)),
    element("tbody", {}, ...rows),
  );
}

function partTable(grid, measure, selected) {
  if (!selected) {
    return element("p", {}, "Select a cell, or filter the nodes: the whole table would have too many cells to read.");
  }
  const node = grid.rows[selected[0]];
  const column = grid.columns.indexOf(node);
  const rows = grid.columns.map((other, number) => {
    const back = grid.rows.indexOf(other);
    const there = cellText(grid, selected[0] * grid.columns.length + number, measure);
    const here = back < 0 || column < 0 ? "not in view" : cellText(grid, back * grid.columns.length + column, measure);
    return element("tr", {}, element("th", { scope: "row" }, other), element("td", {}, there), element("td", {}, here));
  });
  const head = ["node", `from ${node}`, `to ${node}`].map((text) => element("th", { scope: "col" }, text));
  return element(
    "table",
    {},
    element("caption", {}, `${measure.title}: the pairs of ${node}`),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows),
  );
}
