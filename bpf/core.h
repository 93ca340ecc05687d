/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a delivered reply or ICMP error does to the maps. */

/* Counts a packet only if it has our identifier: another program of this host may use monlat's format as well. */
static __always_inline void count_unmatched(u32 reason, const struct icmp_header *icmp)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);

	if (current && current->identifier == __builtin_bswap16(icmp->identifier))
		count(reason);
}

/* Contract: returns the probe that `echo` names and `address` belongs to. If there is none, counts why and returns 0. */
static __always_inline struct probe *find_probe(const struct echo *echo, const u8 *address)
{
	u32 slot = echo->payload.slot, reason;
	struct probe *probe = probes.lookup(&slot);

	if (!probe) {
		reason = UNMATCHED_SLOT_OUT_OF_RANGE;
	} else if (probe->nonce == 0) {
		reason = UNMATCHED_NO_PROBE;
	} else if (probe->nonce != echo->payload.nonce) {
		reason = UNMATCHED_NONCE_MISMATCH;
	} else if (!same_address(probe->address, address)) {
		reason = UNMATCHED_WRONG_ADDRESS;
		probe->stamps.own = 0; /* the hooks saw this packet, and not the reply */
	} else {
		return probe;
	}
	count_unmatched(reason, &echo->icmp);
	return 0;
}

static __always_inline void receive_reply(const struct echo *echo, const u8 *source, int is_checksum_right, u32 device)
{
	struct probe *probe = find_probe(echo, source);
	u32 target_key = echo->payload.slot / PROBES_PER_TARGET;
	struct target *target = targets.lookup(&target_key);
	u64 now = bpf_ktime_get_ns(), at;

	if (!probe || !target)
		return;
	if (!is_checksum_right && !probe->stamps.checksum_owed) {
		count_unmatched(UNMATCHED_BAD_CHECKSUM, &echo->icmp);
		return;
	}
	if (probe->replies < 255)
		probe->replies++;
	if (probe->replies > 1)
		__sync_fetch_and_add(&target->duplicates, 1);
	if (probe->replies > 1 || probe->error_type)
		return;

	at = probe->stamps.own ? probe->stamps.own : probe->stamps.other;
	probe->stamped_by = at ? STAMPED_BY_DRIVER : STAMPED_BY_STACK;
	if (at == 0 || now > probe->deadline + DELIVERY_GRACE)
		at = now;
	probe->reply_device = device;
	probe->received = at;
	if (at > probe->deadline)
		__sync_fetch_and_add(&target->late, 1);
	else if (probe->transmitted == 0 || at <= probe->transmitted)
		count_unmatched(UNMATCHED_NOT_TRANSMITTED, &echo->icmp);
	else
		add_sample(&target->rtt, at - probe->transmitted);
}

static __always_inline void receive_error(const struct echo *quoted, const u8 *destination, u8 type, u8 code)
{
	struct probe *probe = find_probe(quoted, destination);

	if (!probe)
		return;
	if (probe->received == 0 && probe->error_type == 0 && bpf_ktime_get_ns() <= probe->deadline) {
		probe->error_code = code;
		probe->error_type = type;
	}
	if (probe->errors || probe->error_type == 0)
		count_unmatched(UNMATCHED_STALE_ERROR, &quoted->icmp);
	probe->errors = 1;
}
