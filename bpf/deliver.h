/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Deliver: the filters of the agent's raw sockets. The stack runs them when it delivers a packet to this host, before
 * its own handler answers a request. They return 0: user space never gets the packet.
 */

static __always_inline void read_source(struct __sk_buff *skb, u32 version, u8 *address)
{
	u8 ipv4[4] = {};

	if (version == 4) {
		bpf_skb_load_bytes(skb, 12, ipv4, sizeof(ipv4));
		map_ipv4(address, ipv4);
	} else {
		bpf_skb_load_bytes_relative(skb, 8, address, 16, BPF_HDR_START_NET);
	}
}

/* Any router may send an ICMP error. It is ours if it quotes the nonce of a probe. `at`: the quoted packet. */
static __always_inline void deliver_error(struct __sk_buff *skb, u32 version, u32 at, u8 type, u8 code)
{
	union {
		u8 at[40];
		u64 words[5];
	} head = {};
	u64 destination[2];
	struct echo echo = {};
	struct icmp_header icmp;

	if (bpf_skb_load_bytes(skb, at, &head, version == 4 ? 20 : 40))
		return;
	if (head.at[0] >> 4 != version || head.at[version == 4 ? 9 : 6] != (version == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6))
		return;
	at += version == 4 ? (head.at[0] & 15) * 4 : 40;
	if (bpf_skb_load_bytes(skb, at, &echo, ICMP_HEADER_BYTES + MAGIC_AND_VERSION_BYTES))
		return;
	if (!is_echo_request(version, echo.icmp.type) || !is_our_payload(&echo.payload))
		return;
	icmp = echo.icmp; /* a load that fails writes zeros */
	if (bpf_skb_load_bytes(skb, at, &echo, ICMP_HEADER_BYTES + QUOTED_PAYLOAD_BYTES)) {
		count_unmatched(UNMATCHED_TRUNCATED_QUOTE, &icmp);
		return;
	}
	if (version == 4)
		map_ipv4((u8 *)destination, head.at + 16);
	else
		__builtin_memcpy(destination, head.at + 24, 16);
	receive_error(&echo, (u8 *)destination, type, code);
}

/* `at`: the ICMP header. */
static __always_inline int delivered(struct __sk_buff *skb, u32 version, u32 at)
{
	u32 bytes = skb->len - at;
	u64 source[2];
	struct echo echo = {};

	if (bpf_skb_load_bytes(skb, at, &echo, ICMP_HEADER_BYTES))
		return 0;
	if (is_error(version, echo.icmp.type)) {
		deliver_error(skb, version, at + ICMP_HEADER_BYTES, echo.icmp.type, echo.icmp.code);
		return 0;
	}
	if (bpf_skb_load_bytes(skb, at, &echo, ICMP_HEADER_BYTES + MAGIC_AND_VERSION_BYTES) || !is_our_payload(&echo.payload))
		return 0;
	if (bytes != ECHO_BYTES || bpf_skb_load_bytes(skb, at, &echo, ECHO_BYTES)) {
		if (is_echo_reply(version, echo.icmp.type))
			count_unmatched(UNMATCHED_MALFORMED_PAYLOAD, &echo.icmp);
		return 0;
	}
	read_source(skb, version, (u8 *)source);
	if (is_echo_reply(version, echo.icmp.type))
		receive_reply(&echo, (u8 *)source, version == 6 || is_checksum_right(&echo), skb->ifindex);
	else if (is_echo_request(version, echo.icmp.type))
		receive_request(&echo, (u8 *)source, version == 6 || is_checksum_right(&echo));
	return 0;
}

int monlat_ipv4(struct __sk_buff *skb)
{
	u8 first = 0;

	/* an IPv4 packet begins with its IP header here, an IPv6 packet with its ICMPv6 header */
	return bpf_skb_load_bytes(skb, 0, &first, 1) ? 0 : delivered(skb, 4, (first & 15) * 4);
}

int monlat_ipv6(struct __sk_buff *skb)
{
	return delivered(skb, 6, 0);
}
