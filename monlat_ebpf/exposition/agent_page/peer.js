// The panel of one peer: numbers, where the time went, the last probes.

import { byId, definitions, element, setText } from "./dom.js";
import { pathList, waterfalls } from "./path.js";
import { percent, seconds } from "./units.js";

/** Show the answer of /api/v1/peers?peer=NAME. */
export function showPeer(document, name) {
  setText(byId("pair-title"), `${document.node} to ${name}`);
  const articles = document.pairs.map((pair) => article(document, pair));
  const gone = element("p", {}, `${name} is not, or no longer, a peer of this node.`);
  byId("directions").replaceChildren(...(articles.length ? articles : [gone]));
}

/** Say why there is nothing to show. */
export function showPeerProblem(text) {
  byId("directions").replaceChildren(element("p", {}, text));
}

function article(agent, pair) {
  return element(
    "article",
    {},
    element("h3", {}, `${pair.family}: ${headline(pair)}`),
    definitions(measureRows(pair)),
    element("h4", {}, "Where the time of the last probe went"),
    ...waterfalls([pair]),
    element("h4", {}, "Last probes, newest first"),
    probeTable(pair),
    element("h4", {}, "Path and time stamps"),
    pathList(agent, [pair]),
  );
}

function headline({ rtt_seconds: rtt, sent, in_flight: inFlight }) {
  if (rtt.last !== null) return seconds(rtt.last);
  return sent > inFlight ? "lost" : "no probe has ended yet";
}

function measureRows(pair) {
  const { rtt_seconds: rtt, network_rtt_seconds: network, dwell_seconds: dwell } = pair;
  const ended = pair.sent - pair.in_flight;
  const lost = Object.entries(pair.results).filter(([result, count]) => result !== "reply" && count);
  const reasons = lost.map(([result, count]) => `${count} ${result.replaceAll("_", " ")}`).join(", ");
  const offset = `${seconds(pair.clock_offset_seconds)} ± ${seconds(pair.clock_offset_error_seconds)}`;
  return [
    ["RTT", `p50 ${seconds(rtt.p50)}, p99 ${seconds(rtt.p99)}, ${seconds(rtt.min)} to ${seconds(rtt.max)}`],
    ["network RTT", `last ${seconds(network.last)}, p50 ${seconds(network.p50)}, p99 ${seconds(network.p99)}`],
    ["peer's kernel", seconds(pair.peer_dwell_seconds)],
    ["our kernel, for the peer", `p50 ${seconds(dwell.p50)}, p99 ${seconds(dwell.p99)}`],
    ["clock offset", pair.clock_offset_seconds === null ? "not known" : offset],
    ["lost", ended ? `${pair.lost} of ${ended} (${percent(pair.lost / ended)})${reasons ? `: ${reasons}` : ""}` : "none"],
  ];
}

function probeTable({ probes }) {
  if (!probes.length) return element("p", {}, "no probe has ended yet");
  const head = ["sent", "result", "RTT", "network RTT"].map((text) => element("th", { scope: "col" }, text));
  const rows = probes.toReversed().map((probe) => {
    const clock = new Date(probe.sent_unix_seconds * 1000).toLocaleTimeString();
    const texts = [probe.result.replaceAll("_", " "), written(probe.rtt_seconds), written(probe.network_rtt_seconds)];
    return element("tr", {}, element("th", { scope: "row" }, clock), ...texts.map((text) => element("td", {}, text)));
  });
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

function written(value) {
  return value === null ? "–" : seconds(value);
}
