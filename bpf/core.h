/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a packet does to the maps: receive() for any packet that comes in, transmit() for any that goes out.
 *
 * A received packet passes several hooks: the driver's, then the stack's, then those of upper devices. The earliest
 * one gives the time stamp. Packets are counted on their first pass through the stack, because every packet passes
 * there exactly once with skb_iif still zero.
 */

/* Other network namespaces pass through the same hooks. */
static __always_inline int is_our_namespace(const char *device)
{
	char *net = 0;
	u32 inode = 0;

	bpf_probe_read_kernel(&net, sizeof(net), device + NET_DEVICE_ND_NET);
	bpf_probe_read_kernel(&inode, sizeof(inode), net + NET_NS_INUM);
	return inode == NETNS_INODE;
}

static __always_inline int is_our_payload(const struct payload *payload)
{
	return payload->magic == PAYLOAD_MAGIC && payload->version == PAYLOAD_VERSION;
}

/* Contract: returns the probe that `payload` names and `address` belongs to. If there is none, returns 0 and sets
 * `reason`. */
static __always_inline struct probe *find_probe(const struct payload *payload, const u8 *address, u32 *reason)
{
	u32 slot = payload->slot;
	struct probe *probe = probes.lookup(&slot);

	*reason = UNMATCHED_SLOT_OUT_OF_RANGE;
	if (!probe)
		return 0;
	*reason = UNMATCHED_NO_PROBE;
	if (probe->nonce == 0)
		return 0;
	*reason = UNMATCHED_NONCE_MISMATCH;
	if (probe->nonce != payload->nonce)
		return 0;
	*reason = UNMATCHED_WRONG_ADDRESS;
	if (!same_address(probe->address, address))
		return 0;
	return probe;
}

static __always_inline struct target *target_of(u32 slot)
{
	u32 key = slot / PROBES_PER_TARGET;

	return targets.lookup(&key);
}

static __always_inline void record_reply(struct probe *probe, u32 slot, u64 now)
{
	struct target *target = target_of(slot);

	if (!target)
		return;
	if (now > probe->deadline)
		__sync_fetch_and_add(&target->late, 1);
	else if (probe->transmitted == 0)
		count_unmatched(UNMATCHED_NOT_TRANSMITTED);
	else
		add_sample(&target->rtt, now - probe->transmitted);
}

static __always_inline void receive_reply(const struct ip_packet *ip, const struct echo *echo, int first_pass, u64 now)
{
	u32 slot = echo->payload.slot, reason;
	struct probe *probe = find_probe(&echo->payload, ip->source, &reason);
	struct target *target;

	if (probe && !is_checksum_right(ip, echo)) {
		reason = UNMATCHED_BAD_CHECKSUM;
		probe = 0;
	}
	if (!probe) {
		if (first_pass)
			count_unmatched(reason);
		return;
	}

	if (probe->received == 0 && probe->error_type == 0) {
		probe->received = now;
		record_reply(probe, slot, now);
	}
	if (!first_pass)
		return;
	if (probe->replies || probe->error_type) {
		target = target_of(slot);
		if (target)
			__sync_fetch_and_add(&target->duplicates, 1);
	}
	if (probe->replies < 255)
		probe->replies++;
}

/* Any router may send an ICMP error. It is ours if it quotes the nonce of a probe. */
static __always_inline void receive_error(const struct ip_packet *ip, const struct icmp_header *icmp,
					  const void *device, int first_pass, u64 now)
{
	struct ip_packet quoted;
	struct echo echo;
	struct probe *probe;
	u32 reason;

	if (!parse_ip(ip->icmp + ICMP_HEADER_BYTES, ip->icmp_bytes - ICMP_HEADER_BYTES, &quoted))
		return;
	if (quoted.icmp_bytes < ICMP_HEADER_BYTES + MAGIC_AND_VERSION_BYTES)
		return;
	if (bpf_probe_read_kernel(&echo, ICMP_HEADER_BYTES + QUOTED_PAYLOAD_BYTES, quoted.icmp))
		return;
	if (!is_echo_request(&quoted, echo.icmp.type) || !is_our_payload(&echo.payload) || !is_our_namespace(device))
		return;
	reason = UNMATCHED_TRUNCATED_QUOTE;
	probe = 0;
	if (quoted.icmp_bytes >= ICMP_HEADER_BYTES + QUOTED_PAYLOAD_BYTES)
		probe = find_probe(&echo.payload, quoted.destination, &reason);
	if (!probe) {
		if (first_pass)
			count_unmatched(reason);
		return;
	}
	if (probe->received == 0 && probe->error_type == 0 && now <= probe->deadline) {
		probe->error_code = icmp->code;
		probe->error_type = icmp->type;
	}
	if (!first_pass)
		return;
	if (probe->errors || probe->error_type == 0)
		count_unmatched(UNMATCHED_STALE_ERROR);
	probe->errors = 1;
}

/* A packet comes in. `start` is its network header; the buffer is linear for `bytes` bytes from there. */
static __always_inline void receive(char *start, u32 bytes, const void *skb, int first_pass)
{
	struct ip_packet ip;
	struct echo echo;
	char *device = 0;
	u64 now;

	if (!parse_ip(start, bytes, &ip) || bpf_probe_read_kernel(&echo, sizeof(echo), ip.icmp))
		return;
	now = bpf_ktime_get_ns();
	if (is_error(&ip, echo.icmp.type)) {
		bpf_probe_read_kernel(&device, sizeof(device), skb + SKB_DEV);
		receive_error(&ip, &echo.icmp, device, first_pass, now);
		return;
	}
	if (!is_echo_reply(&ip, echo.icmp.type) && !is_echo_request(&ip, echo.icmp.type))
		return;
	if (ip.icmp_bytes < ICMP_HEADER_BYTES + MAGIC_AND_VERSION_BYTES || !is_our_payload(&echo.payload))
		return;
	bpf_probe_read_kernel(&device, sizeof(device), skb + SKB_DEV);
	if (!is_our_namespace(device))
		return;
	if (is_echo_request(&ip, echo.icmp.type)) {
		if (!ip.fragment && ip.icmp_bytes == ECHO_BYTES)
			receive_request(&ip, &echo, first_pass, now);
	} else if (!ip.fragment && ip.icmp_bytes == ECHO_BYTES) {
		receive_reply(&ip, &echo, first_pass, now);
	} else if (first_pass) {
		count_unmatched(ip.fragment ? UNMATCHED_FRAGMENT : UNMATCHED_MALFORMED_PAYLOAD);
	}
}

/* A packet goes to a driver. `own`: this node made it, and does not forward it. A request that is no probe of ours is
 * not counted, because it is another program's. */
static __always_inline void transmit(char *start, u32 bytes, const char *device, int own)
{
	struct ip_packet ip;
	struct echo echo;
	struct probe *probe;
	u32 reason;

	if (!parse_ip(start, bytes, &ip) || ip.icmp_bytes != ECHO_BYTES)
		return;
	if (bpf_probe_read_kernel(&echo, sizeof(echo), ip.icmp))
		return;
	if (!is_our_payload(&echo.payload) || !is_our_namespace(device))
		return;
	if (is_echo_reply(&ip, echo.icmp.type)) {
		if (own)
			transmit_reply(&ip, &echo);
		return;
	}
	if (!is_echo_request(&ip, echo.icmp.type))
		return;
	probe = find_probe(&echo.payload, ip.destination, &reason);
	if (!probe || probe->received)
		return;
	bpf_probe_read_kernel(&probe->device, sizeof(probe->device), device + NET_DEVICE_IFINDEX);
	probe->transmitted = bpf_ktime_get_ns();
}
