/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The responder's side: when requests of known peers came (t2), when our kernel's reply left (t3), and the feedback
 * in these requests, which reports the same of our requests.
 *
 * A stranger can send from a peer's address, but cannot see our packets. So a stream of requests counts once one of
 * them has named the nonce of a live probe to that peer. Any other request only leaves its nonce, which the agent
 * reports while no stream is alive, so that the peer can prove itself. */

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

/* Contract: returns 0 for the target TARGETS. */
static __always_inline struct exchange *exchange_of(u32 target, u32 stream, u64 nonce)
{
	u32 key = (target * STREAMS + stream) * PROBES_PER_TARGET + (u32)(nonce % PROBES_PER_TARGET);

	return exchanges.lookup(&key);
}

static __always_inline int is_clock_apart(u64 peer_received, u64 now)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);

	/* one comparison for both sides: below the lower limit, the difference wraps around */
	return !current || peer_received - (now + current->wall_offset - CLOCK_LIMIT) > 2 * CLOCK_LIMIT;
}

/* Contract: returns the proven stream of that id, or 0. With a proof, a new stream replaces the one that was
 * silent for longer. */
static __always_inline struct stream *proven_stream(struct session *session, u64 id, int is_proof)
{
	struct stream *stream = &session->first;

	if (session->first.id != id &&
	    (session->second.id == id || (is_proof && session->second.received < session->first.received)))
		stream = &session->second;
	if (stream->id == id)
		return stream;
	if (!is_proof)
		return 0;
	*stream = (struct stream){.id = id};
	return stream;
}

/* Contract: returns 1 if the request is the newest of the stream, 0 if a newer one overtook it. */
static __always_inline int note_sequence(struct stream *stream, u64 nonce, u32 sequence)
{
	u32 ahead = sequence - stream->sequence, behind = -ahead;

	if (stream->nonce && (ahead == 0 || ahead > 1U << 31)) {
		if (behind && behind <= 32)
			stream->before |= 1U << ((behind - 1) & 31);
		return 0;
	}
	if (stream->nonce) {
		stream->before = ahead > 32 ? 0 : (u64)stream->before << ahead | 1ULL << (ahead - 1);
		stream->known = stream->known + ahead > 32 ? 32 : stream->known + ahead;
	}
	stream->sequence = sequence;
	stream->nonce = nonce;
	return 1;
}

static __always_inline void apply_feedback(const struct feedback *feedback, const struct probe *probe, u32 target,
					   struct session *session, u64 now)
{
	struct exchange *exchange = exchange_of(target, 0, feedback->nonce);
	u64 rtt;

	if (!exchange || exchange->reported_nonce == feedback->nonce || feedback->dwell == 0)
		return; /* reported before; or received and not answered */
	if (probe->transmitted == 0 || probe->received <= probe->transmitted || probe->received > probe->deadline)
		return; /* the reply was lost, or came too late to count */
	rtt = probe->received - probe->transmitted;
	if (feedback->dwell >= rtt) {
		count(FEEDBACK_DWELL_OVER_RTT);
		return;
	}
	if (is_clock_apart(feedback->received, now)) {
		count(FEEDBACK_CLOCK_APART);
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
	const struct payload *request = &echo->payload;
	u64 nonce = request->nonce, named = request->feedback.nonce;
	u32 target = find_peer(source), checksum_owed = 0;
	struct session *session = sessions.lookup(&target);
	u64 received = take_stamps(nonce, &checksum_owed);
	struct exchange *exchange, *before;
	struct stream *stream;
	struct probe *probe;

	if (!session && named)
		count(FEEDBACK_UNKNOWN_PEER);
	if (!session || request->stream == 0 || !(is_checksum_right || checksum_owed))
		return;
	probe = live_probe(target * PROBES_PER_TARGET + (u32)(named % PROBES_PER_TARGET), named);
	if (named && !probe && named != session->report.nonce)
		count(FEEDBACK_NONCE_MISMATCH);
	stream = proven_stream(session, request->stream, probe != 0);
	session->candidate = stream ? 0 : nonce;
	exchange = exchange_of(target, stream == &session->second, nonce);
	before = exchange_of(target, stream == &session->second, nonce - DWELL_DELAY);
	if (!stream || !exchange || !before)
		return;
	if (exchange->nonce != nonce) {
		count_dwell(session, exchange);
		count_dwell(session, before);
		exchange->nonce = nonce;
		exchange->received = received;
		exchange->transmitted = 0;
		exchange->sequence = request->sequence;
		exchange->stream = request->stream;
		exchange->requests = 0;
		exchange->counted = 0;
		stream->received = received;
		/* while no probe of ours reaches the peer, it goes on naming the last one that did, which lives no more */
		if (note_sequence(stream, nonce, request->sequence) && named && (probe || named == session->report.nonce)) {
			session->report = request->feedback;
			session->report_known = request->known;
			session->report_received = received;
		}
		if (probe)
			apply_feedback(&request->feedback, probe, target, session, received);
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
#pragma unroll
	for (u32 stream = 0; stream < STREAMS; stream++) {
		exchange = exchange_of(target, stream, nonce);
		if (exchange && exchange->nonce == nonce && exchange->requests == 1 && !exchange->counted)
			exchange->transmitted = bpf_ktime_get_ns();
	}
}
