// The agent's page: asks its agent again and again, and shows its row of the matrix.

import { parseAddress, showAddress } from "./address.js";
import { columnOf } from "./columns.js";
import { byId, definitions, setText } from "./dom.js";
import { showPeer, showPeerProblem } from "./peer.js";
import { PeerTable } from "./peer_table.js";
import { RecentLosses, filtered, parseRows, sorted } from "./row.js";
import { sourceRows, stampRows } from "./path.js";
import { ago, seconds } from "./units.js";

const LEAST_PAUSE = 2; // seconds between two questions
const MOST_SHARE = 10; // one answer in so many times its duration: an agent with 5,000 peers has other work
const MOST_NAMES = 8;
const EMPTY = { filter: "", sort: "peer", descending: "", peer: "" };

const losses = new RecentLosses();
const table = new PeerTable(byId("scroller"), openPeer, sortBy);
let view = EMPTY;
let agent = null; // the newest answer
/** @type {import("./row.js").PeerRow[]} */
let rows = [];
let receivedAt = 0;
let timer = 0;

// asking

async function ask() {
  clearTimeout(timer);
  const began = performance.now();
  let pause = LEAST_PAUSE;
  try {
    agent = await getJson("api/v1/peers");
    receivedAt = performance.now();
    rows = parseRows(agent, losses, receivedAt / 1000);
    pause = Math.max(agent.interval_seconds, LEAST_PAUSE, ((receivedAt - began) / 1000) * MOST_SHARE);
    byId("problem").hidden = true;
    show();
  } catch (error) {
    setText(byId("problem"), `The agent does not answer (${error.message}). What is shown is old.`);
    byId("problem").hidden = false;
  }
  await askPeer();
  timer = setTimeout(ask, pause * 1000);
}

async function askPeer() {
  const { peer } = view;
  if (!peer) return;
  try {
    const document = await getJson(`api/v1/peers?${new URLSearchParams({ peer })}`);
    if (peer === view.peer) showPeer(document, peer);
  } catch (error) {
    if (peer === view.peer) showPeerProblem(`The agent does not answer (${error.message}).`);
  }
}

async function getJson(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

// showing

function show() {
  if (!agent) return;
  const began = performance.now();
  const shown = filtered(rows, view.filter);
  document.title = `monlat agent of ${agent.node}`;
  setText(byId("node"), `of ${agent.node}`);
  setText(byId("row-title"), `Peers of ${agent.node}: ${shown.length} of ${rows.length}`);
  setText(byId("summary"), summary());
  const isDescending = Boolean(view.descending);
  table.show(sorted(shown, columnOf(view.sort).value, isDescending), view.peer, view.sort, isDescending);
  showFacts();
  sayAge();
  byId("scroller").dataset.shownMilliseconds = (performance.now() - began).toFixed(1);
}

/** How many peers answer, and who does not. A peer with two address families counts for each. */
function summary() {
  const named = (state) => rows.filter((row) => row.state === state).map(({ pair }) => pair.to);
  const [lost, waiting] = [named("lost"), named("waiting")];
  const answering = rows.length - lost.length - waiting.length;
  const rest = lost.length > MOST_NAMES ? ` and ${lost.length - MOST_NAMES} more` : "";
  return [
    `${answering} ${answering === 1 ? "answers" : "answer"}`,
    ...(lost.length ? [`${lost.length} ${lost.length === 1 ? "does" : "do"} not: ${lost.slice(0, MOST_NAMES).join(", ")}${rest}`] : []),
    ...(waiting.length ? [`of ${waiting.length} no probe has ended yet`] : []),
  ].join("; ");
}

/** Text that stays the same stays selected. */
function showFacts() {
  const list = definitions(facts());
  if (byId("facts").textContent !== list.textContent) byId("facts").replaceChildren(list);
}

function facts() {
  const counted = (counts) => Object.entries(counts).filter(([, count]) => count);
  const list = (counts) => counted(counts).map(([kind, count]) => `${count} ${kind}`).join(", ") || "none";
  return [
    ...sourceRows(agent),
    ["probes", `every ${seconds(agent.interval_seconds)}, lost after ${seconds(agent.timeout_seconds)}`],
    ["skipped probes", String(agent.skipped_probes)],
    ["probe errors", list(agent.probe_errors)],
    ["unmatched packets", list(agent.unmatched_packets)],
    ["rejected feedback", list(agent.rejected_feedback)],
    ...stampRows(agent),
  ];
}

function sayAge() {
  if (agent) setText(byId("age"), `answered ${ago((performance.now() - receivedAt) / 1000)}`);
}

// choosing

function change(changes) {
  view = { ...view, ...changes };
  showAddress(view, EMPTY);
  show();
}

/** Sort by a column, the largest number first; by the same one again, the other way round. */
function sortBy(name) {
  const isDescending = view.sort === name ? !view.descending : !columnOf(name).isText;
  change({ sort: name, descending: isDescending ? "yes" : "" });
}

function openPeer(name) {
  change({ peer: name });
  byId("pair").hidden = false;
  setText(byId("pair-title"), `${agent.node} to ${name}`);
  showPeerProblem("asking the agent");
  byId("pair-title").focus();
  askPeer();
}

function closePeer() {
  byId("pair").hidden = true;
  change({ peer: "" });
  byId("scroller").focus();
}

/** Show what the address bar says. */
function restore() {
  view = parseAddress(window.location.hash, EMPTY);
  byId("filter").value = view.filter;
  byId("pair").hidden = !view.peer;
  show();
  askPeer();
}

byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", (event) => change({ filter: event.target.value }));
byId("close").addEventListener("click", closePeer);
window.addEventListener("resize", show);
window.addEventListener("hashchange", restore);
setInterval(sayAge, 1000);
restore();
ask();
