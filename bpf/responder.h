/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The other end: requests of peers that we know, when they came (t2) and when our answer left (t3); and the
 * feedback that they carry, which is the same about requests of ours.
 *
 * Nothing that a stranger sends makes a sample: a request is served for a peer's address alone, and feedback
 * counts only with the exact nonce of a probe to that peer that was answered in time.
 */

/* The same as address_hash() in monlat_ebpf/abi/peer_index.py. A product's bit depends on no higher bit of its
 * factors, and neighbouring addresses differ in the highest: so they are folded down before each product. */
static __always_inline u32 address_hash(const u8 *address)
{
	const u64 *words = (const u64 *)address;
	u64 hash = words[0] * 0x9e3779b97f4a7c15ULL ^ words[1];

	hash = (hash ^ hash >> 32) * 0xc2b2ae3d27d4eb4fULL;
	hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15ULL;
	return (u32)(hash >> 32);
}

/* Contract: the target of a peer's address, or SLOTS where it is nobody's. */
static __always_inline u32 find_peer(const u8 *address)
{
	u32 place = address_hash(address);

#pragma unroll
	for (int step = 0; step < PEER_INDEX_STEPS; step++) {
		u32 key = (place + step) & (PEER_INDEX_ENTRIES - 1);
		struct peer_entry *entry = peer_index.lookup(&key);

		if (!entry || !entry->used)
			return SLOTS;
		if (same_address(entry->address, address))
			return entry->target;
	}
	return SLOTS;
}

static __always_inline int is_clock_apart(u64 peer_received, u64 now)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);
	u64 wall;

	if (!current)
		return 1;
	wall = now + current->wall_offset;
	return peer_received > wall + CLOCK_LIMIT || peer_received + CLOCK_LIMIT < wall;
}

/* Contract: 1 when `sequence` is the newest, 0 when the network let it be overtaken. A peer that starts anew, so
 * that its sequences are far from the last, or were seen before of other requests, starts the record anew. */
static __always_inline int note_sequence(struct session *with, u32 sequence)
{
	u32 ahead = sequence - with->served_sequence, behind = with->served_sequence - sequence, bit;

	if (with->served_nonce && ahead && ahead <= 31) {
		with->served_before = with->served_before << ahead | 1U << (ahead - 1);
		with->served_sequence = sequence;
		return 1;
	}
	if (with->served_nonce && behind && behind <= 31) {
		bit = 1U << ((behind - 1) & 31);
		if (!(with->served_before & bit)) {
			with->served_before |= bit;
			return 0;
		}
	}
	with->served_sequence = sequence;
	with->served_before = 0;
	return 1;
}

/* `newest`: no later request of the peer has told more already of what it saw. */
static __always_inline void apply_feedback(const struct feedback *feedback, u32 number, struct session *with,
					   int newest, u64 now)
{
	u32 slot = number * PROBES_PER_TARGET + (u32)(feedback->nonce % PROBES_PER_TARGET);
	struct probe *probe = probes.lookup(&slot);
	struct exchange *exchange = exchanges.lookup(&slot);
	u64 rtt;

	if (!probe || !exchange || probe->nonce != feedback->nonce) {
		count_rejected_feedback(FEEDBACK_NONCE_MISMATCH);
		return;
	}
	if (newest) {
		with->report_nonce = feedback->nonce;
		with->report_before = feedback->before;
		with->report_after = feedback->after;
		with->report_received = now;
	}
	if (exchange->fed_nonce == feedback->nonce || feedback->dwell == 0)
		return; /* said before; or seen and not answered */
	if (probe->transmitted == 0 || probe->received == 0 || probe->received > probe->deadline)
		return; /* the answer was lost, or came too late to count */
	rtt = probe->received - probe->transmitted;
	if (feedback->dwell >= rtt) {
		count_rejected_feedback(FEEDBACK_DWELL_OVER_RTT);
		return;
	}
	if (is_clock_apart(feedback->received, now)) {
		count_rejected_feedback(FEEDBACK_CLOCK_APART);
		return;
	}
	exchange->dwell = feedback->dwell;
	exchange->peer_received = feedback->received;
	exchange->fed_nonce = feedback->nonce;
	with->fed_nonce = feedback->nonce;
	add_sample(&with->network_rtt, rtt - feedback->dwell);
}

/* On a node that forwards, a bridge or a router, a peer's requests to others come by as well. Whose address is
 * ours is known from the first answer on. */
static __always_inline int is_to_another(const struct session *with, const u8 *destination)
{
	const u64 *own = (const u64 *)with->own_address;

	return (own[0] || own[1]) && !same_address(with->own_address, destination);
}

/* A request has come in. */
static __always_inline void receive_request(const struct ip_packet *ip, const struct echo *echo, int first_pass, u64 now)
{
	u32 number = find_peer(ip->source), slot;
	struct session *with;
	struct exchange *exchange;
	int newest;

	if (number >= SLOTS / PROBES_PER_TARGET) {
		if (first_pass && echo->payload.feedback.nonce)
			count_rejected_feedback(FEEDBACK_UNKNOWN_PEER);
		return;
	}
	with = sessions.lookup(&number);
	slot = number * PROBES_PER_TARGET + (u32)(echo->payload.nonce % PROBES_PER_TARGET);
	exchange = exchanges.lookup(&slot);
	if (!with || !exchange || is_to_another(with, ip->destination) || !is_checksum_right(ip, echo))
		return;
	if (exchange->nonce != echo->payload.nonce) {
		newest = note_sequence(with, echo->payload.sequence);
		exchange->nonce = echo->payload.nonce;
		exchange->received = now;
		exchange->transmitted = 0;
		exchange->sequence = echo->payload.sequence;
		exchange->requests = 0;
		if (newest)
			with->served_nonce = echo->payload.nonce;
		if (echo->payload.feedback.nonce)
			apply_feedback(&echo->payload.feedback, number, with, newest, now);
	}
	if (first_pass)
		exchange->requests++;
}

/* Our kernel's answer is handed to a driver. */
static __always_inline void transmit_answer(const struct ip_packet *ip, const struct echo *echo)
{
	u32 number = find_peer(ip->destination), slot;
	struct session *with;
	struct exchange *exchange;
	u64 now;

	if (number >= SLOTS / PROBES_PER_TARGET)
		return;
	with = sessions.lookup(&number);
	slot = number * PROBES_PER_TARGET + (u32)(echo->payload.nonce % PROBES_PER_TARGET);
	exchange = exchanges.lookup(&slot);
	if (with)
		__builtin_memcpy(with->own_address, ip->source, 16);
	if (!with || !exchange || exchange->nonce != echo->payload.nonce || exchange->requests > 1)
		return;
	now = bpf_ktime_get_ns();
	if (exchange->transmitted)
		move_sample(&with->dwell, exchange->transmitted - exchange->received, now - exchange->received);
	else
		add_sample(&with->dwell, now - exchange->received);
	exchange->transmitted = now;
}
