// The page: asks the collector again and again, and connects what is shown with what is chosen.

import { elementOf, keyOf } from "./diagnosis.js";
import { showDiagnoses, showNoDiagnosis } from "./diagnosis_panel.js";
import { byId, element, setText } from "./dom.js";
import { Heatmap } from "./heatmap.js";
import { boxesOf } from "./highlight.js";
import { showLegend } from "./legend.js";
import { showMissing, showWorst } from "./lists.js";
import { MEASURES, measureOf } from "./measures.js";
import { nodeGrid, parseMatrix, zoneGrid, zoneTitle, zonesOf } from "./model.js";
import { showPair, showPairProblem } from "./pair.js";
import { domainOf } from "./scale.js";
import { cellSentence } from "./sentences.js";
import { showTable } from "./table.js";
import { ago } from "./units.js";
import { parseView, showView } from "./view.js";

const MAP_HEIGHT = 0.84; // of the window's: just under the height from which on the stylesheet scrolls
const PROBLEM_SECONDS = 2; // between two questions while the collector does not answer

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const map = new Heatmap(byId("map"));
let view = parseView(window.location.hash);
let model = null;
let diagnosis = null; // the newest answer about what is broken
let grid = null;
let selected = null; // [row, column] of the grid
let receivedAt = 0;
let asking = null; // the question that is being answered
let timer = 0;

// asking

async function ask() {
  clearTimeout(timer);
  asking?.abort();
  const question = (asking = new AbortController());
  let pause = PROBLEM_SECONDS;
  try {
    const diagnosed = askDiagnosis();
    const document = await getJson(`api/v1/matrix?measure=${view.measure}`);
    const isFirst = !model;
    model = parseMatrix(document);
    receivedAt = performance.now();
    pause = document.interval_seconds;
    byId("problem").hidden = true;
    if (isFirst) show(); // the first picture does not wait for the diagnosis
    await diagnosed;
    if (question.signal.aborted) return;
    show();
  } catch (error) {
    if (question.signal.aborted) return;
    setText(byId("problem"), `The collector does not answer (${error.message}). What is shown is old.`);
    byId("problem").hidden = false;
  }
  await askPair();
  if (!question.signal.aborted) timer = setTimeout(ask, pause * 1000);
}

/** Ask what is broken; never fails. Without an answer, the matrix is still shown. */
async function askDiagnosis() {
  const question = asking;
  try {
    diagnosis = await getJson("api/v1/diagnosis");
  } catch (error) {
    if (question.signal.aborted) return;
    diagnosis = null;
    showNoDiagnosis(`Nothing is known: the collector gives no diagnosis (${error.message}).`);
  }
}

async function getJson(address) {
  const answer = await fetch(address, { signal: asking.signal });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function askPair() {
  if (!view.from || !view.to || byId("pair").hidden) return;
  const { from, to } = view;
  try {
    const answer = await fetch(`api/v1/pair?${new URLSearchParams({ from, to })}`);
    const document = await answer.json();
    if (from !== view.from || to !== view.to) return;
    if (!answer.ok) showPairProblem(document.error);
    else showPair(document, Date.now() / 1000);
    if (answer.ok && document.directions.some((each) => !each.detail && !each.detail_failure_text)) {
      setTimeout(askPair, 500); // the agents are being asked for the first time
    }
  } catch (error) {
    showPairProblem(`The collector does not answer (${error.message}).`);
  }
}

// showing

function show() {
  if (!model) return;
  const began = performance.now();
  const measure = measureOf(model.measure);
  const kind = view.view || (zonesOf(model.nodes).length > 1 ? "zones" : "nodes");
  grid = kind === "zones" ? zoneGrid(model) : nodeGrid(model, view.rows, view.columns);
  const numbers = measure.absolute ? grid.values.map(Math.abs) : grid.values;
  const domain = measure.domain ?? domainOf(numbers);
  byId("view").value = kind;
  byId("measure").value = measure.name;
  findSelected();
  map.selected = selected;
  showDiagnosis();
  const room = [byId("scroller").clientWidth, window.innerHeight * MAP_HEIGHT];
  map.draw(grid, domain, measure, room, dark.matches);
  const unit = kind === "zones" ? "zones" : "nodes";
  setText(byId("matrix-title"), `${measure.title}: ${grid.rows.length} × ${grid.columns.length} ${unit}`);
  byId("map").setAttribute("aria-label", `${measure.title}, ${grid.rows.length} by ${grid.columns.length} ${unit}`);
  showLegend(byId("legend"), measure, domain, kind, dark.matches);
  showWorst(model, measure, diagnosis?.diagnoses ?? [], openPair);
  showMissing(model);
  showTable(grid, measure, selected);
  sayCell();
  sayAge();
  byId("map").dataset.drawnMilliseconds = (performance.now() - began).toFixed(1);
}

/** Find the chosen pair or zones in the grid: nodes may have come or gone. */
function findSelected() {
  const isZones = grid.kind === "zones";
  const [from, to] = isZones ? [view.fromZone, view.toZone] : [view.from, view.to];
  const find = (names, wanted) => (wanted ? names.findIndex((name) => (isZones ? zoneTitle(name) : name) === wanted) : -1);
  const cell = [find(grid.rows, from), find(grid.columns, to)];
  selected = cell[0] < 0 || cell[1] < 0 ? null : cell;
}

/** Show the diagnoses; the map gets the cells of the chosen one. */
function showDiagnosis() {
  const key = view.diagnosis;
  if (diagnosis) showDiagnoses(diagnosis, model.unixSeconds, key, chooseDiagnosis);
  const found = diagnosis?.diagnoses.find((each) => keyOf(each) === key);
  const zones = () => new Map(model.nodes.map((node) => [node.name, node.zone]));
  const boxes = key ? boxesOf(found ?? elementOf(key), grid, zones()) : [];
  map.boxes = boxes;
  const ended = found ? "" : `There is no open diagnosis of ${elementOf(key).title} now. `;
  byId("chosen").hidden = !key;
  setText(byId("chosen").firstElementChild, ended + (boxes.length ? "Its cells are outlined." : "It has no cell in this view."));
}

function sayCell() {
  const text = selected ? cellSentence(grid, selected, measureOf(model.measure)) : "no cell selected";
  setText(byId("cell"), text);
}

function sayAge() {
  if (!model) return;
  const ages = model.nodes.filter((node) => !node.is_stale).map((node) => node.age_seconds);
  const since = (performance.now() - receivedAt) / 1000;
  const missing = model.nodes.length - ages.length;
  const oldest = ages.length ? `oldest answer ${ago(Math.max(...ages) + since)}` : "no answer";
  setText(byId("age"), `${model.nodes.length} nodes, ${missing} missing, ${oldest}`);
}

// choosing

function change(changes) {
  const measure = view.measure;
  view = { ...view, ...changes };
  showView(view);
  if (view.measure === measure) show();
  else ask();
}

/** Outline the cells of a diagnosis; if it is the chosen one already, of none. */
function chooseDiagnosis(key) {
  change({ diagnosis: key === view.diagnosis ? "" : key });
  if (map.boxes.length) scrollToCell(map.boxes[0]);
}

function select(cell) {
  selected = cell;
  map.select(cell);
  const [from, to] = [grid.rows[cell[0]], grid.columns[cell[1]]];
  view = grid.kind === "nodes" ? { ...view, from, to } : { ...view, fromZone: zoneTitle(from), toZone: zoneTitle(to) };
  showView(view);
  sayCell();
  setText(byId("spoken-cell"), byId("cell").textContent); // not with each answer: a live region interrupts
  showTable(grid, measureOf(model.measure), selected);
  scrollToCell(cell);
}

function scrollToCell(cell) {
  const box = map.boxOf(cell);
  const scroller = byId("scroller");
  const into = (position, start, room) => (position < start ? position : Math.max(start, position + box.size - room));
  scroller.scrollLeft = into(box.left, scroller.scrollLeft, scroller.clientWidth);
  scroller.scrollTop = into(box.top, scroller.scrollTop, scroller.clientHeight);
}

/**
 * Open a cell: the nodes of two zones, or the panel of a pair.
 * @param {number[]} cell
 */
function open([row, column]) {
  if (grid.kind === "zones") {
    change({ view: "nodes", rows: `zone=${grid.rows[row]}`, columns: `zone=${grid.columns[column]}`, from: "", to: "" });
    byId("rows").value = view.rows;
    byId("columns").value = view.columns;
  } else if (grid.rows[row] !== grid.columns[column]) {
    openPair(grid.rows[row], grid.columns[column]);
  }
}

function openPair(from, to) {
  change({ from, to });
  byId("pair").hidden = false;
  setText(byId("pair-title"), `${from} and ${to}`);
  byId("directions").replaceChildren(element("p", {}, "asking the collector"));
  byId("pair-title").focus();
  askPair();
}

function closePair() {
  byId("pair").hidden = true;
  change({ from: "", to: "" });
  byId("map").focus();
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function onKey(event) {
  if (!grid?.states.length || event.ctrlKey || event.metaKey || event.altKey) return;
  const last = [grid.rows.length - 1, grid.columns.length - 1];
  const row = selected?.[0] ?? 0;
  const step = STEPS[event.key];
  if (event.key === "Enter" && selected) open(selected);
  else if (event.key === "Home") select([row, 0]);
  else if (event.key === "End") select([row, last[1]]);
  else if (step && !selected) select([0, 0]);
  else if (step) select([0, 1].map((axis) => Math.min(Math.max(selected[axis] + step[axis], 0), last[axis])));
  else return;
  event.preventDefault();
}

// connecting

function connect() {
  byId("measure").append(...MEASURES.map(({ name, title }) => element("option", { value: name }, title)));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("view").addEventListener("change", (event) => change({ view: event.target.value }));
  byId("measure").addEventListener("change", (event) => change({ measure: event.target.value }));
  for (const axis of ["rows", "columns"]) {
    byId(axis).addEventListener("input", (event) => change({ [axis]: event.target.value, view: "nodes" }));
  }
  byId("map").addEventListener("keydown", onKey);
  byId("map").addEventListener("click", (event) => {
    const cell = grid && map.cellAt(event.offsetX, event.offsetY);
    if (!cell) return;
    select(cell);
    open(cell);
  });
  byId("map").addEventListener("mousemove", (event) => {
    const cell = grid && map.cellAt(event.offsetX, event.offsetY);
    byId("map").title = cell ? cellSentence(grid, cell, measureOf(model.measure)) : "";
  });
  byId("close").addEventListener("click", closePair);
  byId("chosen").lastElementChild.addEventListener("click", () => {
    change({ diagnosis: "" });
    byId("map").focus();
  });
  byId("table-part").addEventListener("toggle", show);
  dark.addEventListener("change", show);
  window.addEventListener("resize", show);
  window.addEventListener("hashchange", restore);
  setInterval(sayAge, 1000);
}

/** Show what the address bar says. */
function restore() {
  view = parseView(window.location.hash);
  showView(view); // in place of one that is about to be shown
  byId("rows").value = view.rows;
  byId("columns").value = view.columns;
  byId("measure").value = view.measure;
  byId("pair").hidden = !(view.from && view.to);
  ask();
}

connect();
restore();
