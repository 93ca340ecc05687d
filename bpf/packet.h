/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads packets that anyone may have made. No length in a packet is trusted: only the linear part of the buffer is
 * used.
 *
 * The loader defines SKB_*, byte offsets in the running kernel's structs, from its BTF. One read copies the window of
 * sk_buff that holds all fields needed to reject most packets; offsets within the window count from its first byte.
 */

#define ETHERTYPE_IPV4 0x0008 /* big-endian, as a little-endian machine reads it */
#define ETHERTYPE_IPV6 0xdd86
#define ETHERTYPE_VLAN 0x0081  /* 802.1Q */
#define ETHERTYPE_SVLAN 0xa888 /* 802.1ad */
#define VLAN_TAG_BYTES 4

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_DESTINATION_OPTIONS 60

#define ECHO_REPLY 0
#define ECHO_REQUEST 8
#define ECHO_REQUEST_V6 128
#define ECHO_REPLY_V6 129

#define ICMP_HEADER_BYTES 8
#define QUOTED_PAYLOAD_BYTES 24 /* of a payload, up to and including the nonce */
#define MAGIC_AND_VERSION_BYTES 5
#define ECHO_BYTES (ICMP_HEADER_BYTES + 56) /* sizeof(struct payload) */

/* Shortest: an IPv4 header, an ICMP header and a magic. Longest: an ICMP error with the longest quote that RFC 1812
 * allows, 576 bytes in all. Our requests are shorter, so a quote in IPv6 fits as well. */
#define SHORTEST_REQUEST (20 + ECHO_BYTES)
#define LONGEST_REQUEST (40 + ECHO_BYTES)
#define SHORTEST_PACKET (20 + ICMP_HEADER_BYTES + 4)
#define LONGEST_PACKET 576

struct skb_window {
	u64 words[SKB_WINDOW_BYTES / 8];
};

#define window_field(window, type, offset) (*(type *)((char *)(window)->words + (offset)))

/* An IP packet in the linear part of a buffer. */
struct ip_packet {
	char *icmp;       /* address of the ICMP header, not yet read */
	u32 icmp_bytes;   /* of the ICMP message, as far as it is in the linear part */
	u8 version;       /* 4 or 6 */
	u8 fragment;      /* 1: this is not the whole packet */
	u8 source[16];    /* IPv4 as ::ffff:a.b.c.d */
	u8 destination[16];
};

struct icmp_header {
	u8 type;
	u8 code;
	u16 checksum;
	u32 rest;
};

struct echo {
	struct icmp_header icmp;
	struct payload payload;
};
_Static_assert(sizeof(struct echo) == ECHO_BYTES, "a packed payload of 56 bytes");

static __always_inline int is_echo_request(const struct ip_packet *ip, u8 type)
{
	return type == (ip->version == 4 ? ECHO_REQUEST : ECHO_REQUEST_V6);
}

static __always_inline int is_echo_reply(const struct ip_packet *ip, u8 type)
{
	return type == (ip->version == 4 ? ECHO_REPLY : ECHO_REPLY_V6);
}

/* Unreachable, source quench, time exceeded, parameter problem (RFC 792); 1 to 127 of ICMPv6 (RFC 4443). */
static __always_inline int is_error(const struct ip_packet *ip, u8 type)
{
	if (ip->version == 6)
		return type > 0 && type < 128;
	return type == 3 || type == 4 || type == 11 || type == 12;
}

static __always_inline int same_address(const u8 *one, const u8 *other)
{
	const u64 *a = (const u64 *)one, *b = (const u64 *)other;

	return a[0] == b[0] && a[1] == b[1];
}

static __always_inline void map_ipv4(u8 *address, const u8 *ipv4)
{
	u32 *words = (u32 *)address;

	words[0] = 0;
	words[1] = 0;
	words[2] = 0xffff0000; /* ::ffff: */
	words[3] = *(u32 *)ipv4;
}

static __always_inline u32 big_endian_16(const u8 *bytes)
{
	return (u32)bytes[0] << 8 | bytes[1];
}

static __always_inline u32 lesser(u32 a, u32 b)
{
	return a < b ? a : b;
}

/* Contract: fills `ip` and returns 1 if `bytes` bytes at `start` begin an IPv4 packet with ICMP or an IPv6 packet with
 * ICMPv6; returns 0 otherwise. The length in the header can only shorten the message. */
static __always_inline int parse_ip(char *start, u32 bytes, struct ip_packet *ip)
{
	union {
		u8 at[40];
		u64 words[5];
	} head;
	u32 header_bytes, claimed, next;

	if (bytes < 20 || bpf_probe_read_kernel(&head, sizeof(head), start))
		return 0;
	ip->fragment = 0;

	if (head.at[0] >> 4 == 4) {
		if (head.at[9] != PROTOCOL_ICMP)
			return 0;
		ip->version = 4;
		header_bytes = (head.at[0] & 15) * 4;
		if (header_bytes < 20)
			return 0;
		claimed = big_endian_16(head.at + 2);
		ip->fragment = (big_endian_16(head.at + 6) & 0x3fff) != 0;
		map_ipv4(ip->source, head.at + 12);
		map_ipv4(ip->destination, head.at + 16);
	} else if (head.at[0] >> 4 == 6) {
		if (bytes < 40)
			return 0;
		ip->version = 6;
		header_bytes = 40;
		claimed = 40 + big_endian_16(head.at + 4);
		next = head.at[6];
		__builtin_memcpy(ip->source, head.at + 8, 16);
		__builtin_memcpy(ip->destination, head.at + 24, 16);
		if (next == PROTOCOL_HOP_BY_HOP || next == PROTOCOL_DESTINATION_OPTIONS || next == PROTOCOL_FRAGMENT) {
			u8 extension[8]; /* one extension header; more are not expected on echoes */

			if (bytes < 48 || bpf_probe_read_kernel(extension, sizeof(extension), start + 40))
				return 0;
			if (next == PROTOCOL_FRAGMENT) {
				ip->fragment = (big_endian_16(extension + 2) & 0xfff9) != 0;
				header_bytes += 8;
			} else {
				header_bytes += 8 + (u32)extension[1] * 8;
			}
			next = extension[0];
		}
		if (next != PROTOCOL_ICMPV6)
			return 0;
	} else {
		return 0;
	}

	bytes = lesser(bytes, claimed);
	if (bytes < header_bytes + ICMP_HEADER_BYTES)
		return 0;
	ip->icmp = start + header_bytes;
	ip->icmp_bytes = bytes - header_bytes;
	return 1;
}

/* Contract: returns 1 if the checksum of a whole echo is right (RFC 1071, RFC 4443 section 2.3). */
static __always_inline int is_checksum_right(const struct ip_packet *ip, const struct echo *echo)
{
	const u16 *words = (const u16 *)echo, *addresses = (const u16 *)ip->source;
	u32 sum = 0;

#pragma unroll
	for (int i = 0; i < ECHO_BYTES / 2; i++)
		sum += words[i];
	if (ip->version == 6) {
		sum += (ECHO_BYTES << 8) + (PROTOCOL_ICMPV6 << 8); /* big-endian */
#pragma unroll
		for (int i = 0; i < 8; i++)
			sum += addresses[i];
		addresses = (const u16 *)ip->destination;
#pragma unroll
		for (int i = 0; i < 8; i++)
			sum += addresses[i];
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}
