/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads packets that anyone may have made.
 *
 * The loader defines SKB_* and others, byte offsets in the running kernel's structs, from its BTF. The verifier knows
 * the types of a hook's arguments from there, too, so it lets their members be read without a helper's call. A null or
 * stale pointer reads as zeros. */

#define member(type, object, offset) (*(type volatile *)((char *)(object) + (offset)))

#define ETHERTYPE_VLAN 0x0081  /* 802.1Q; big-endian, as a little-endian machine reads it */
#define ETHERTYPE_SVLAN 0xa888 /* 802.1ad */
#define VLAN_TAG_BYTES 4

#define PROTOCOL_ICMP 1
#define PROTOCOL_ICMPV6 58

#define ICMP_HEADER_BYTES 8
#define MARK_BYTES (ICMP_HEADER_BYTES + 5)  /* of an echo, up to and including magic and version */
#define ECHO_BYTES (ICMP_HEADER_BYTES + 56) /* sizeof(struct payload) */
#define UP_TO_NONCE_BYTES 24                /* of a payload */
#define SHORTEST_ECHO (20 + ECHO_BYTES)
#define LONGEST_ECHO (60 + ECHO_BYTES)

/* An IP header without options: 20 bytes for IPv4, 40 for IPv6. */
union ip_header {
	u8 bytes[40];
	u64 words[5];
};

struct icmp_header {
	u8 type;
	u8 code;
	u16 checksum;
	u16 identifier; /* big-endian */
	u16 sequence;
};

struct echo {
	struct icmp_header icmp;
	struct payload payload;
};
_Static_assert(sizeof(struct echo) == ECHO_BYTES, "a packed payload of 56 bytes");

enum kind { OTHER, REQUEST, REPLY, ERROR };

/* An echo at a hook. */
struct packet {
	union ip_header ip;
	struct echo echo;
	enum kind kind;
	u32 is_fresh; /* 1: no device of this machine has received it before */
};

/* Contract: tells what a message is from its first MARK_BYTES; an echo is OTHER unless it is monlat's. Errors are
 * unreachable, source quench, time exceeded, parameter problem (RFC 792), and 1 to 127 (RFC 4443). */
static __always_inline enum kind kind_of(u32 version, const struct echo *echo)
{
	u8 type = echo->icmp.type;

	if (version == 4 ? type == 3 || type == 4 || type == 11 || type == 12 : type > 0 && type < 128)
		return ERROR;
	if (echo->payload.magic != PAYLOAD_MAGIC || echo->payload.version != PAYLOAD_VERSION)
		return OTHER;
	if (type == (version == 4 ? 8 : 128))
		return REQUEST;
	return type == (version == 4 ? 0 : 129) ? REPLY : OTHER;
}

static __always_inline int same_address(const u8 *one, const u8 *other)
{
	const u64 *a = (const u64 *)one, *b = (const u64 *)other;

	return a[0] == b[0] && a[1] == b[1];
}

#define SOURCE 0
#define DESTINATION 1

/* Copies an address out of an IP header; IPv4 as ::ffff:a.b.c.d. */
static __always_inline void copy_address(u8 *address, const union ip_header *ip, u32 which)
{
	u64 *words = (u64 *)address;

	if (ip->bytes[0] >> 4 == 4) {
		words[0] = 0;
		words[1] = (u64) * (u32 *)(ip->bytes + 12 + 4 * which) << 32 | 0xffff0000;
	} else {
		words[0] = ip->words[1 + 2 * which];
		words[1] = ip->words[2 + 2 * which];
	}
}

/* Contract: returns the length of an IP header that ICMP follows at once; 0 for any other. */
static __always_inline u32 bytes_before_icmp(const union ip_header *ip)
{
	u32 version = ip->bytes[0] >> 4;

	if (version == 4 && ip->bytes[9] == PROTOCOL_ICMP)
		return (ip->bytes[0] & 15) * 4;
	return version == 6 && ip->bytes[6] == PROTOCOL_ICMPV6 ? 40 : 0;
}

/* Contract: fills `packet` and returns 1 if the `bytes` bytes at `start` are an IP packet with a whole echo of ours. */
static __always_inline int read_echo(const char *start, u32 bytes, struct packet *packet)
{
	u32 before;

	if (bpf_probe_read_kernel(&packet->ip, sizeof(packet->ip), start))
		return 0;
	before = bytes_before_icmp(&packet->ip);
	if (before == 0 || bytes != before + ECHO_BYTES ||
	    bpf_probe_read_kernel(&packet->echo, sizeof(packet->echo), start + before))
		return 0;
	if (packet->ip.bytes[0] >> 4 == 4 && (packet->ip.bytes[6] & 0x3f || packet->ip.bytes[7]))
		return 0; /* a fragment: the stack may never have the whole */
	packet->kind = kind_of(packet->ip.bytes[0] >> 4, &packet->echo);
	return packet->kind == REQUEST || packet->kind == REPLY;
}

/* Contract: as read_echo, for a packet that a hook sees. Its IP header is at skb->network_header if it is transmitted,
 * else at skb->data, behind two VLAN tags at most. */
static __always_inline int read_packet(const char *skb, int is_transmitted, struct packet *packet)
{
	u32 bytes = member(u32, skb, SKB_LEN) - member(u32, skb, SKB_DATA_LEN), before;
	char *start = member(char *, skb, SKB_DATA);
	u16 protocol;

	if (is_transmitted) {
		before = member(char *, skb, SKB_HEAD) + member(u16, skb, SKB_NETWORK_HEADER) - start;
		if (before > bytes)
			return 0;
		start += before;
		bytes -= before;
	} else if (bytes == 0) { /* napi_gro_frags: the data is in a page, whose address is in the control block */
		bytes = member(u32, skb, SKB_LEN);
		bpf_probe_read_kernel(&start, sizeof(start), skb + SKB_FRAG0);
	}
	if (bytes < SHORTEST_ECHO || bytes > LONGEST_ECHO + 2 * VLAN_TAG_BYTES)
		return 0;
	protocol = is_transmitted ? 0 : member(u16, skb, SKB_PROTOCOL);
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_SVLAN) {
			bpf_probe_read_kernel(&protocol, sizeof(protocol), start + 2);
			start += VLAN_TAG_BYTES;
			bytes -= VLAN_TAG_BYTES;
		}
	}
	packet->is_fresh = member(u32, skb, SKB_SKB_IIF) == 0;
	return read_echo(start, bytes, packet);
}

/* Contract: returns 1 if the checksum of a whole IPv4 echo is right (RFC 1071). The kernel checks those of IPv6 before
 * a socket filter runs (rawv6_rcv_skb), and those of IPv4 after. */
static __always_inline int is_checksum_right(const struct echo *echo)
{
	const u16 *words = (const u16 *)echo;
	u32 sum = 0;

#pragma unroll
	for (int i = 0; i < ECHO_BYTES / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Other network namespaces pass through the same hooks. */
static __always_inline int is_our_namespace(const char *device)
{
	return member(u32, member(char *, device, NET_DEVICE_ND_NET), NET_NS_INUM) == NETNS_INODE;
}
