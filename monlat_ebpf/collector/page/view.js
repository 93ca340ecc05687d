// The view of the page, as the address bar has it.

import { parseAddress, showAddress } from "./address.js";
import { MEASURES } from "./measures.js";

const EMPTY = {
  view: "",
  measure: "rtt",
  rows: "",
  columns: "",
  from: "",
  to: "",
  fromZone: "",
  toZone: "",
  diagnosis: "",
};

/** Read the view from the part of an address after "#". Unknown keys and values are left out. */
export function parseView(hash) {
  const view = parseAddress(hash, EMPTY);
  if (!["", "zones", "nodes"].includes(view.view)) view.view = "";
  if (!MEASURES.some((measure) => measure.name === view.measure)) view.measure = EMPTY.measure;
  return view;
}

/** Put the view into the address bar. */
export function showView(view) {
  showAddress(view, EMPTY);
}
