/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The responder's side: when requests of known peers came (t2), when our kernel's reply left (t3), and the feedback
 * in these requests, which reports the same of our requests.
 *
 * A stranger's packet never makes a sample. Only the requests of known peers are served. Feedback counts only if it
 * has the exact nonce of a probe to that peer, and if the reply to that probe came in time.
 */

/* The same as address_hash() in monlat_ebpf/abi/peer_index.py. Addresses of one network differ in their highest bits
 * (read as little-endian). A product moves bits only upwards, so the high bits are folded down before each product. */
static __always_inline u32 address_hash(const u8 *address)
{
	const u64 *words = (const u64 *)address;
	u64 hash = words[0] * 0x9e3779b97f4a7c15ULL ^ words[1];

	hash = (hash ^ hash >> 32) * 0xc2b2ae3d27d4eb4fULL;
	hash = (hash ^ hash >> 29) * 0x9e3779b97f4a7c15ULL;
	return (u32)(hash >> 32);
}

/* Contract: returns the target of `address`, or TARGETS if no peer has it. */
static __always_inline u32 find_peer(const u8 *address)
{
	u32 hash = address_hash(address);

#pragma unroll
	for (int step = 0; step < PEER_INDEX_STEPS; step++) {
		u32 key = (hash + step) & (PEER_INDEX_ENTRIES - 1);
		struct peer_entry *entry = peer_index.lookup(&key);

		if (!entry || !entry->used)
			return TARGETS;
		if (same_address(entry->address, address))
			return entry->target;
	}
	return TARGETS;
}

static __always_inline struct exchange *exchange_of(u32 target, u64 nonce)
{
	u32 key = target * PROBES_PER_TARGET + (u32)(nonce % PROBES_PER_TARGET);

	return exchanges.lookup(&key);
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

/* Contract: returns 1 if `sequence` is the newest, 0 if a newer one overtook it. A peer has restarted if its sequence
 * is far from the last one, or was received before with another nonce: the record is then reset. */
static __always_inline int note_sequence(struct session *session, u32 sequence)
{
	u32 ahead = sequence - session->served_sequence, behind = session->served_sequence - sequence, bit;

	if (session->served_nonce && ahead && ahead <= 31) {
		session->served_before = session->served_before << ahead | 1U << (ahead - 1);
		session->served_sequence = sequence;
		return 1;
	}
	if (session->served_nonce && behind && behind <= 31) {
		bit = 1U << ((behind - 1) & 31);
		if (!(session->served_before & bit)) {
			session->served_before |= bit;
			return 0;
		}
	}
	session->served_sequence = sequence;
	session->served_before = 0;
	return 1;
}

/* `newest`: no later request of the peer has come before this one. */
static __always_inline void apply_feedback(const struct feedback *feedback, u32 target, struct session *session,
					   int newest, u64 now)
{
	u32 slot = target * PROBES_PER_TARGET + (u32)(feedback->nonce % PROBES_PER_TARGET);
	struct probe *probe = probes.lookup(&slot);
	struct exchange *exchange = exchanges.lookup(&slot);
	u64 rtt;

	if (!probe || !exchange || probe->nonce != feedback->nonce) {
		count_rejected_feedback(FEEDBACK_NONCE_MISMATCH);
		return;
	}
	if (newest) {
		session->report_nonce = feedback->nonce;
		session->report_before = feedback->before;
		session->report_after = feedback->after;
		session->report_received = now;
	}
	if (exchange->reported_nonce == feedback->nonce || feedback->dwell == 0)
		return; /* reported before; or received and not answered */
	if (probe->transmitted == 0 || probe->received == 0 || probe->received > probe->deadline)
		return; /* the reply was lost, or came too late to count */
	rtt = probe->received - probe->transmitted;
	if (feedback->dwell >= rtt) {
		count_rejected_feedback(FEEDBACK_DWELL_OVER_RTT);
		return;
	}
	if (is_clock_apart(feedback->received, now)) {
		count_rejected_feedback(FEEDBACK_CLOCK_APART);
		return;
	}
	exchange->reported_dwell = feedback->dwell;
	exchange->reported_received = feedback->received;
	exchange->reported_nonce = feedback->nonce;
	session->reported_nonce = feedback->nonce;
	add_sample(&session->network_rtt, rtt - feedback->dwell);
}

/* Requests of a peer until a dwell counts: that long, the reply may wait in a queue of this host for its last device. */
#define DWELL_DELAY 8

static __always_inline void count_dwell(struct session *session, struct exchange *exchange)
{
	if (exchange->counted || exchange->transmitted <= exchange->received)
		return;
	exchange->counted = 1;
	add_sample(&session->dwell, exchange->transmitted - exchange->received);
}

/* Contract: returns t2 of a delivered request. Its stamps are used up. */
static __always_inline u64 take_stamps(u64 nonce, u32 *checksum_owed)
{
	struct request_stamp *seen = request_stamp_of(nonce);
	u64 at = 0;

	if (seen && seen->nonce == nonce) {
		at = seen->stamps.own ? seen->stamps.own : seen->stamps.other;
		*checksum_owed = seen->stamps.checksum_owed;
		seen->nonce = 0;
	}
	return at ? at : bpf_ktime_get_ns();
}

static __always_inline void receive_request(const struct echo *echo, const u8 *source, int is_checksum_right)
{
	u32 target = find_peer(source), checksum_owed = 0;
	struct session *session = sessions.lookup(&target);
	struct exchange *exchange, *before;
	u64 nonce = echo->payload.nonce, received = take_stamps(nonce, &checksum_owed);
	int newest;

	if (!session) {
		if (echo->payload.feedback.nonce)
			count_rejected_feedback(FEEDBACK_UNKNOWN_PEER);
		return;
	}
	exchange = exchange_of(target, nonce);
	before = exchange_of(target, nonce - DWELL_DELAY);
	if (!exchange || !before || !(is_checksum_right || checksum_owed))
		return;
	if (exchange->nonce != nonce) {
		count_dwell(session, exchange);
		count_dwell(session, before);
		newest = note_sequence(session, echo->payload.sequence);
		exchange->nonce = nonce;
		exchange->received = received;
		exchange->transmitted = 0;
		exchange->sequence = echo->payload.sequence;
		exchange->requests = 0;
		exchange->counted = 0;
		if (newest)
			session->served_nonce = nonce;
		if (echo->payload.feedback.nonce)
			apply_feedback(&echo->payload.feedback, target, session, newest, received);
	}
	if (exchange->requests < 2)
		exchange->requests++;
}

/* A reply of our kernel goes to a driver. */
static __always_inline void transmit_reply(const struct packet *packet)
{
	u64 nonce = packet->echo.payload.nonce, address[2];
	struct exchange *exchange;
	u32 target;

	copy_address((u8 *)address, &packet->ip, DESTINATION);
	target = find_peer((u8 *)address);
	exchange = target < TARGETS ? exchange_of(target, nonce) : 0;
	if (exchange && exchange->nonce == nonce && exchange->requests == 1 && !exchange->counted)
		exchange->transmitted = bpf_ktime_get_ns();
}
