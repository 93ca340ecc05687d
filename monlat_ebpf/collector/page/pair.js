// The panel of one pair: both directions side by side.

import { distribution, history, partsOf, waterfall } from "./charts.js";
import { byId, element, setText } from "./dom.js";
import { MEASURES, ago, keyOf, percent, seconds, written } from "./measures.js";

const STATES = { measured: "measured", lost: "lost", stale: "stale", not_probed: "not probed" };

/** Show the answer of /api/v1/pair. */
export function showPair(document, now) {
  const [{ from, to }] = document.directions;
  setText(byId("pair-title"), `${from} and ${to}`);
  byId("directions").replaceChildren(...document.directions.map((direction) => article(direction, now)));
}

/** Say why there is nothing to show. */
export function showPairProblem(text) {
  byId("directions").replaceChildren(element("p", {}, text));
}

function article(direction, now) {
  const { detail } = direction;
  return element(
    "article",
    {},
    element("h3", {}, `${direction.from} to ${direction.to}: ${headline(direction)}`),
    ...agentLines(direction),
    list(measureRows(direction)),
    element("h4", {}, "Where the time of the last probe went"),
    ...waterfallOf(direction),
    element("h4", {}, "History"),
    history(direction.history, now),
    element("h4", {}, "Distribution"),
    distribution(direction.distribution),
    element("h4", {}, "Path and time stamps"),
    detail ? list(pathRows(detail)) : element("p", {}, waiting(direction)),
  );
}

function headline({ state, last }) {
  return state === "measured" ? seconds(last.rtt_seconds) : STATES[state];
}

function agentLines({ agent, state }) {
  if (agent.age_seconds === null) return [element("p", {}, `The agent of ${agent.name} has never answered.`)];
  const when = `The agent of ${agent.name} answered ${ago(agent.age_seconds)}`;
  const why = agent.failure_text ? `; it ${agent.failure_text}` : "";
  const note = state === "stale" ? ". The numbers below are of that time." : ".";
  return [element("p", {}, when + why + note)];
}

function measureRows({ last, loss_window_seconds: window }) {
  const rows = MEASURES.map((measure) => [measure.title, written(measure, last[keyOf(measure)])]);
  rows.push(["clock offset", `${seconds(last.clock_offset_seconds)} ± ${seconds(last.clock_offset_error_seconds)}`]);
  rows.push(["loss covers", `the last ${Math.round(window)} s`]);
  return rows.filter(([title]) => title !== "clock offset, absolute");
}

function waterfallOf(direction) {
  if (!direction.detail) return [element("p", {}, waiting(direction))];
  const drawn = direction.detail.families.map((family) => [family, partsOf(family.probes)]);
  const pictures = drawn.filter(([, parts]) => parts.length).map(([, parts]) => waterfall(parts));
  return pictures.length ? pictures : [element("p", {}, "no probe with a report of the peer among the last ones")];
}

function waiting({ detail_failure_text: failure, from }) {
  return failure ? `The agent of ${from} ${failure}.` : "asking the agent";
}

function pathRows(detail) {
  const rows = [["source", detail.source + (detail.source_reason ? `: ${detail.source_reason}` : "")]];
  for (const family of detail.families) {
    rows.push([family.family, `${family.address} over ${family.device || "no device yet"}`]);
    const { forward, return: back } = family.queueing_seconds ?? {};
    if (family.queueing_seconds) rows.push(["queueing", `there ${seconds(forward)}, back ${seconds(back)}`]);
    rows.push(["probes", `${family.sent} sent, ${family.results.reply} answered, ${family.late} late, ${family.duplicates} duplicates`]);
  }
  rows.push(["send delay", `p50 ${seconds(detail.send_delay_seconds.p50)}, p99 ${seconds(detail.send_delay_seconds.p99)}`]);
  for (const { device, driver, stack } of detail.reply_stamps) {
    const all = driver + stack;
    rows.push([`stamps on ${device}`, all ? `${percent(driver / all)} by the driver, of ${all} replies` : "none"]);
  }
  return rows;
}

function list(rows) {
  return element("dl", {}, ...rows.flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)]));
}
