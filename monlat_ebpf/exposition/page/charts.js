// The three pictures of one direction: where the time of a probe went, its history, its distribution.

import { element, svg } from "./dom.js";
import { ago, seconds } from "./units.js";

const WIDTH = 360;

/** The parts of the newest probe whose peer has reported it: [name, class, seconds]; none without one. */
export function partsOf(probes) {
  const probe = probes.findLast((each) => each.rtt_seconds !== null && each.peer_dwell_seconds !== null);
  if (!probe) return [];
  const parts = [["send delay", "send", probe.send_delay_seconds]];
  if (probe.forward_seconds !== null && probe.return_seconds !== null) {
    parts.push(["way there", "forward", probe.forward_seconds]);
    parts.push(["peer's kernel (dwell)", "dwell", probe.peer_dwell_seconds]);
    parts.push(["way back", "back", probe.return_seconds]);
  } else {
    parts.push(["peer's kernel (dwell)", "dwell", probe.peer_dwell_seconds]);
    parts.push(["network, both ways", "forward", probe.network_rtt_seconds]);
  }
  return parts.filter(([, , time]) => time !== null);
}

/** Bars, each beginning where the one before ends. A direction below zero, by the clocks' error, has no width. */
export function waterfall(parts) {
  const total = parts.reduce((sum, [, , time]) => sum + Math.max(time, 0), 0) || 1;
  let start = 0;
  const bars = parts.flatMap(([name, kind, time], row) => {
    const width = (Math.max(time, 0) / total) * WIDTH;
    const bar = svg("rect", { class: kind, x: start, y: row * 26 + 14, width: Math.max(width, 1), height: 9 });
    start += width;
    return [svg("text", { x: 0, y: row * 26 + 11 }, `${name}: ${seconds(time)}`), bar];
  });
  const text = parts.map(([name, , time]) => `${name} ${seconds(time)}`).join(", ");
  return picture(`Where the time of the last probe went: ${text}`, parts.length * 26 + 2, bars);
}

/** RTT over time on a logarithmic scale; a mark at the lower edge where a probe was lost. */
export function history({ unix_seconds: times, rtt_seconds: rtts, is_lost: losses }, now) {
  const known = rtts.filter((rtt) => rtt !== null);
  if (!times.length) return element("p", {}, "no history yet");
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const span = Math.max(now - times[0], 1);
  const x = (time) => ((time - times[0]) / span) * (WIDTH - 4) + 2;
  const y = (rtt) => 80 - (high > low ? Math.log(rtt / low) / Math.log(high / low) : 0.5) * 60;
  const parts = [];
  let path = "";
  times.forEach((time, number) => {
    if (rtts[number] === null) path += " ";
    else path += `${path === "" || path.endsWith(" ") ? "M" : "L"}${x(time).toFixed(1)} ${y(rtts[number]).toFixed(1)}`;
    if (losses[number]) parts.push(svg("rect", { class: "lost", x: x(time) - 1, y: 88, width: 2, height: 8 }));
  });
  const lost = losses.filter(Boolean).length;
  const title = known.length
    ? `History: ${seconds(low)} to ${seconds(high)} since ${ago(now - times[0])}, ${lost} of ${times.length} points with a loss`
    : `History: no reply since ${ago(now - times[0])}`;
  return picture(title, 112, [
    svg("path", { class: "line", d: path }),
    svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: 86, y2: 86 }),
    ...parts,
    svg("text", { x: 0, y: 12 }, known.length ? `${seconds(low)} to ${seconds(high)}` : "no reply"),
    svg("text", { x: 0, y: 108 }, `${ago(now - times[0])}; marks below: lost`),
  ]);
}

/** A bar for each bucket that has samples; the axis is logarithmic, as the buckets are. */
export function distribution({ samples, seconds: span, edges_seconds: edges, counts }) {
  const known = edges.map((edge) => edge ?? 16);
  if (!samples) return element("p", {}, "no sample yet");
  const [low, high] = [Math.log(known[0]), Math.log(known[known.length - 1])];
  const most = Math.max(...counts);
  const width = Math.max(3, Math.min(24, (WIDTH / (((high - low) / Math.log(2)) * 8 + 1)) * 0.9));
  const bars = known.map((edge, number) => {
    const height = (counts[number] / most) * 60;
    const left = high > low ? ((Math.log(edge) - low) / (high - low)) * (WIDTH - width) : 0;
    return svg("rect", { class: "bar", x: left, y: 66 - height, width, height });
  });
  const range = `up to ${seconds(known[0])} … up to ${seconds(known[known.length - 1])}`;
  const replies = `${samples} ${samples === 1 ? "reply" : "replies"} within ${Math.round(span)} s`;
  return picture(`Distribution of ${replies}, ${range}`, 84, [
    ...bars,
    svg("text", { x: 0, y: 80 }, `${replies}, buckets ${range}`),
  ]);
}

function picture(title, height, children) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title }, ...children);
}
