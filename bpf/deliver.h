/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Deliver: the filters of the agent's raw sockets. The stack runs them when it delivers a packet to this host, before
 * its own handler answers a request. They return 0: user space never gets the packet. */

#define IP_HEADER_BYTES(version) ((version) == 4 ? 20 : 40)

/* Any router may send an ICMP error. It is ours if it quotes the nonce of a probe. `at`: the quoted packet. */
static __always_inline void deliver_error(struct __sk_buff *skb, u32 version, u32 at, const struct icmp_header *error)
{
	union ip_header ip = {};
	struct echo echo = {};
	u64 destination[2];
	u32 before;

	if (bpf_skb_load_bytes(skb, at, &ip, IP_HEADER_BYTES(version)) || ip.bytes[0] >> 4 != version)
		return;
	before = bytes_before_icmp(&ip);
	if (before == 0 || bpf_skb_load_bytes(skb, at + before, &echo, MARK_BYTES) || kind_of(version, &echo) != REQUEST)
		return;
	at += before + ICMP_HEADER_BYTES;
	if (bpf_skb_load_bytes(skb, at, &echo.payload, UP_TO_NONCE_BYTES)) {
		count_unmatched(UNMATCHED_TRUNCATED_QUOTE, &echo.icmp);
		return;
	}
	copy_address((u8 *)destination, &ip, DESTINATION);
	receive_error(&echo, (u8 *)destination, error->type, error->code);
}

static __always_inline int deliver(struct __sk_buff *skb, u32 version)
{
	union ip_header ip = {};
	struct echo echo = {};
	u64 source[2];
	enum kind kind;
	u32 at = 0;

	bpf_skb_load_bytes_relative(skb, 0, &ip, IP_HEADER_BYTES(version), BPF_HDR_START_NET);
	if (version == 4)
		at = (ip.bytes[0] & 15) * 4; /* an IPv4 packet begins with its IP header here, IPv6 with ICMPv6 */
	if (bpf_skb_load_bytes(skb, at, &echo, MARK_BYTES))
		return 0;
	kind = kind_of(version, &echo);
	at += ICMP_HEADER_BYTES;
	if (kind == ERROR)
		deliver_error(skb, version, at, &echo.icmp);
	if (kind != REQUEST && kind != REPLY)
		return 0;
	if (skb->len != at + sizeof(echo.payload) || bpf_skb_load_bytes(skb, at, &echo.payload, sizeof(echo.payload))) {
		if (kind == REPLY)
			count_unmatched(UNMATCHED_MALFORMED_PAYLOAD, &echo.icmp);
		return 0;
	}
	copy_address((u8 *)source, &ip, SOURCE);
	if (kind == REPLY)
		receive_reply(&echo, (u8 *)source, version == 6 || is_checksum_right(&echo), skb->ifindex);
	else
		receive_request(&echo, (u8 *)source, version == 6 || is_checksum_right(&echo));
	return 0;
}

int monlat_ipv4(struct __sk_buff *skb) { return deliver(skb, 4); }
int monlat_ipv6(struct __sk_buff *skb) { return deliver(skb, 6); }
