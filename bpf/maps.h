/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables that cross to the agent, mapped into its memory: no system call reads or writes them. All are
 * arrays: allocated once, never full, zero at first, freed with the agent's last descriptor of them.
 */

/* Probes in flight. Key: slot, 0 to SLOTS - 1. Value: the probe in that place. The agent fills a place, the
 * kernel program completes it, the agent reads it and fills it again PROBES_PER_TARGET probes later. */
BPF_F_TABLE("array", u32, struct probe, probes, SLOTS, BPF_F_MMAPABLE);

/* Sums. Key: target, slot / PROBES_PER_TARGET. Value: its histogram and counters. The kernel program adds,
 * the agent reads. */
BPF_F_TABLE("array", u32, struct target, targets, SLOTS / PROBES_PER_TARGET, BPF_F_MMAPABLE);

/* Key: 0. Value: packets that are no answer to a probe of ours, by reason. */
BPF_F_TABLE("array", u32, struct unmatched, unmatched, 1, BPF_F_MMAPABLE);

/* Both ends' view. Key: target * PROBES_PER_TARGET + place. Value: the last exchange with that place. */
BPF_F_TABLE("array", u32, struct exchange, exchanges, SLOTS, BPF_F_MMAPABLE);

/* Key: target. Value: its sums and what was last heard. */
BPF_F_TABLE("array", u32, struct session, sessions, SLOTS / PROBES_PER_TARGET, BPF_F_MMAPABLE);

/* Key: hash of an address, and on. Value: whose it is. The agent writes it as peers come and go. */
BPF_F_TABLE("array", u32, struct peer_entry, peer_index, PEER_INDEX_ENTRIES, BPF_F_MMAPABLE);

/* Key: 0. Value: what the agent tells. */
BPF_F_TABLE("array", u32, struct settings, settings, 1, BPF_F_MMAPABLE);

/* Key: 0. Value: feedback that made no sample, by reason. */
BPF_F_TABLE("array", u32, struct rejected_feedback, rejected_feedback, 1, BPF_F_MMAPABLE);

static __always_inline void count_rejected_feedback(u32 reason)
{
	u32 key = 0;
	struct rejected_feedback *all = rejected_feedback.lookup(&key);

	if (all)
		__sync_fetch_and_add(&all->packets[reason], 1);
}

static __always_inline void count_unmatched(u32 reason)
{
	u32 key = 0;
	struct unmatched *all = unmatched.lookup(&key);

	if (all)
		__sync_fetch_and_add(&all->packets[reason], 1);
}
