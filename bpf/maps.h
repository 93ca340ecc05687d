/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps. The agent has all but one in its memory, so no system call reads or writes them. All are arrays: they are
 * allocated once, filled with zeros, never full, and freed when the agent closes its last descriptor of them.
 *
 * The loader defines TARGETS and PEER_INDEX_ENTRIES. monlat_ebpf/abi/layout.py reads names, structs and sizes from
 * these lines. */

/* Probes in flight. Key: slot. Value: the probe in that slot. The agent fills a slot and reads it when the kernel
 * program has completed it; PROBES_PER_TARGET probes later it fills the slot again. */
BPF_F_TABLE("array", u32, struct probe, probes, TARGETS * PROBES_PER_TARGET, BPF_F_MMAPABLE);

/* Key: target. Value: what the kernel program counts for it; the agent reads it. */
BPF_F_TABLE("array", u32, struct target, targets, TARGETS, BPF_F_MMAPABLE);

/* Key: (target * STREAMS + stream) * PROBES_PER_TARGET + the lowest bits of the nonce. Value: the last exchange with
 * these bits. */
BPF_F_TABLE("array", u32, struct exchange, exchanges, TARGETS * STREAMS * PROBES_PER_TARGET, BPF_F_MMAPABLE);

/* Key: target. Value: the session with the agent at its address. */
BPF_F_TABLE("array", u32, struct session, sessions, TARGETS, BPF_F_MMAPABLE);

/* Key: hash of an address, or one of the keys after it. Value: the target of the address. The agent writes it
 * whenever the peers change. */
BPF_F_TABLE("array", u32, struct peer_entry, peer_index, PEER_INDEX_ENTRIES, BPF_F_MMAPABLE);

/* Key: 0. Value: settings that the agent writes. */
BPF_F_TABLE("array", u32, struct settings, settings, 1, BPF_F_MMAPABLE);

/* Key: 0. Value: unmatched packets and rejected feedback, by reason. */
BPF_F_TABLE("array", u32, struct counts, counts, 1, BPF_F_MMAPABLE);

/* Key: bits of a nonce. Value: the last request with these bits. It is the kernel program's alone. */
BPF_ARRAY(request_stamps, struct request_stamp, REQUEST_STAMPS);

static __always_inline void count(u32 reason)
{
	u32 key = 0;
	struct counts *all = counts.lookup(&key);

	if (all)
		__sync_fetch_and_add(&all->packets[reason], 1);
}

/* Contract: returns the probe in `slot` if it has that nonce, else 0. */
static __always_inline struct probe *live_probe(u32 slot, u64 nonce)
{
	struct probe *probe = probes.lookup(&slot);

	if (!nonce || !probe || probe->nonce != nonce)
		probe = 0;
	asm volatile("" : "+r"(probe)); /* else clang tests the nonce for null later, which the verifier cannot follow */
	return probe;
}

static __always_inline struct request_stamp *request_stamp_of(u64 nonce)
{
	u32 key = (u32)(nonce / PROBES_PER_TARGET) % REQUEST_STAMPS;

	return request_stamps.lookup(&key);
}
