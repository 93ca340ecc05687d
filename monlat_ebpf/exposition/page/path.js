// What an agent says of one peer, in rows of text: source, address, device, queueing, probes, stamps.

import { definitions, element } from "./dom.js";
import { partsOf, waterfall } from "./charts.js";
import { percent, seconds } from "./units.js";

/**
 * Where the time of the last probes went: a picture for each address family that has a report of the peer.
 * @param {{probes: object[]}[]} families
 * @returns {Element[]}
 */
export function waterfalls(families) {
  const pictures = families.map(({ probes }) => partsOf(probes)).filter((parts) => parts.length).map(waterfall);
  return pictures.length ? pictures : [element("p", {}, "no probe with a report of the peer among the last ones")];
}

/**
 * @param {object} agent source, send_delay_seconds and reply_stamps, which are of all peers
 * @param {object[]} families what the agent says of the peer, by address family
 * @returns {Element}
 */
export function pathList(agent, families) {
  return definitions([...sourceRows(agent), ...families.flatMap(familyRows), ...stampRows(agent)]);
}

/** Where time stamps come from, and why they do not come from the first choice. */
export function sourceRows({ source, source_reason: reason }) {
  return [["source", source + (reason ? `: ${reason}` : "")]];
}

function familyRows(family) {
  const rows = [[family.family, `${family.address} over ${family.device || "no device yet"}`]];
  if (family.queueing_seconds) {
    const { forward, return: back } = family.queueing_seconds;
    rows.push(["queueing", `there ${seconds(forward)}, back ${seconds(back)}`]);
  }
  const { sent, results, late, duplicates } = family;
  rows.push(["probes", `${sent} sent, ${results.reply} answered, ${late} late, ${duplicates} duplicates`]);
  return rows;
}

/** The agent's send delay, and who took the time stamps of replies, by device. */
export function stampRows({ send_delay_seconds: delay, reply_stamps: stamps }) {
  return [
    ["send delay", `p50 ${seconds(delay.p50)}, p99 ${seconds(delay.p99)}`],
    ...stamps.map(({ device, driver, stack }) => {
      const all = driver + stack;
      return [`stamps on ${device}`, all ? `${percent(driver / all)} by the driver, of ${all} replies` : "none"];
    }),
  ];
}
