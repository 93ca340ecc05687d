// The panel of one pair: both directions side by side.

import { distribution, history } from "./charts.js";
import { byId, definitions, element, setText } from "./dom.js";
import { MEASURES, keyOf, written } from "./measures.js";
import { pathList, waterfalls } from "./path.js";
import { ago, seconds } from "./units.js";

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
    definitions(measureRows(direction)),
    element("h4", {}, "Where the time of the last probe went"),
    ...(detail ? waterfalls(detail.families) : [element("p", {}, waiting(direction))]),
    element("h4", {}, "History"),
    history(direction.history, now),
    element("h4", {}, "Distribution"),
    distribution(direction.distribution),
    element("h4", {}, "Path and time stamps"),
    detail ? pathList(detail, detail.families) : element("p", {}, waiting(direction)),
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

function waiting({ detail_failure_text: failure, from }) {
  return failure ? `The agent of ${from} ${failure}.` : "asking the agent";
}
