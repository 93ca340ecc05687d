// The answer of /api/v1/peers as rows of the table, and which of them are shown in which order. Pure.

/**
 * @typedef {object} PeerRow what this node measures of one peer over one address family
 * @property {string} key of the row, as long as the page is open
 * @property {object} pair the agent's own object
 * @property {string} state "answers", "lost" or "waiting": whether the last probe was answered; waiting: none has ended
 * @property {number} ended probes that have ended since the agent's start
 * @property {number} lost those without a reply
 * @property {number | null} recentLoss the share of lost probes of the last minute, null where it is not known
 */

const RECENT_SECONDS = 60;

/**
 * Parse the document.
 * @param {{pairs: object[]}} document
 * @param {RecentLosses} losses
 * @param {number} now seconds
 * @returns {PeerRow[]}
 */
export function parseRows(document, losses, now) {
  const rows = document.pairs.map((pair) => {
    const ended = pair.sent - pair.in_flight;
    const isAnswered = pair.rtt_seconds.last !== null;
    const state = isAnswered ? "answers" : ended ? "lost" : "waiting";
    return { key: `${pair.to} ${pair.family}`, pair, state, ended, lost: pair.lost, recentLoss: null };
  });
  losses.take(rows, now);
  return rows;
}

/** Differences of the counters over the last minute, or since the page was opened. */
export class RecentLosses {
  constructor() {
    this.points = []; // {at, counts: Map of key to [ended, lost]}, oldest first
  }

  /** Fill `recentLoss` of the rows, which were read `now`, and remember their counters. */
  take(rows, now) {
    while (this.points.length > 1 && now - this.points[1].at >= RECENT_SECONDS) this.points.shift();
    const before = this.points[0]?.counts;
    for (const row of rows) {
      const [ended, lost] = before?.get(row.key) ?? [];
      // fewer than before: the agent has started again
      if (row.ended > ended && row.lost >= lost) row.recentLoss = (row.lost - lost) / (row.ended - ended);
    }
    const last = this.points.at(-1);
    if (!last || now - last.at >= RECENT_SECONDS / 6) {
      this.points.push({ at: now, counts: new Map(rows.map((row) => [row.key, [row.ended, row.lost]])) });
    }
  }
}

/** The rows that a filter names: part of a peer's name or address, or zone=NAME. Empty: all. */
export function filtered(rows, filter) {
  const wanted = filter.trim().toLowerCase();
  if (!wanted) return rows;
  if (wanted.startsWith("zone=")) return rows.filter(({ pair }) => pair.to_zone.toLowerCase() === wanted.slice(5));
  return rows.filter(({ pair }) => pair.to.toLowerCase().includes(wanted) || pair.address.includes(wanted));
}

const NAMES = new Intl.Collator("en", { numeric: true }); // node2 before node10

/**
 * The rows in the order of a column; those without a number come last in either direction.
 * @param {PeerRow[]} rows
 * @param {(row: PeerRow) => string | number | null} valueOf
 * @param {boolean} isDescending
 */
export function sorted(rows, valueOf, isDescending) {
  const sign = isDescending ? -1 : 1;
  const compare = (one, other) => (typeof one === "string" ? NAMES.compare(one, other) : one - other);
  const keyed = rows.map((row) => ({ value: valueOf(row), row }));
  keyed.sort(({ value: one }, { value: other }) => {
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    return sign * compare(one, other);
  });
  return keyed.map(({ row }) => row);
}
