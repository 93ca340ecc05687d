/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads packets that anyone may have made.
 *
 * The loader defines SKB_* and others, byte offsets in the running kernel's structs, from its BTF. One read copies the
 * window of sk_buff that holds all fields needed to reject most packets; offsets within the window count from its
 * first byte.
 */

#define ETHERTYPE_IPV4 0x0008 /* big-endian, as a little-endian machine reads it */
#define ETHERTYPE_IPV6 0xdd86
#define ETHERTYPE_VLAN 0x0081  /* 802.1Q */
#define ETHERTYPE_SVLAN 0xa888 /* 802.1ad */
#define VLAN_TAG_BYTES 4

#define PROTOCOL_ICMP 1
#define PROTOCOL_ICMPV6 58

#define ECHO_REPLY 0
#define ECHO_REQUEST 8
#define ECHO_REQUEST_V6 128
#define ECHO_REPLY_V6 129

#define ICMP_HEADER_BYTES 8
#define QUOTED_PAYLOAD_BYTES 24 /* of a payload, up to and including the nonce */
#define MAGIC_AND_VERSION_BYTES 5
#define ECHO_BYTES (ICMP_HEADER_BYTES + 56) /* sizeof(struct payload) */
#define SHORTEST_ECHO (20 + ECHO_BYTES)
#define LONGEST_ECHO (60 + ECHO_BYTES)
#define CHECKSUM_PARTIAL 3 /* linux/skbuff.h */

struct skb_window {
	u64 words[SKB_WINDOW_BYTES / 8];
};

#define window_field(window, type, offset) (*(type *)((char *)(window)->words + (offset)))

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

/* An echo at a hook. */
struct packet {
	union {
		u8 at[40];
		u64 words[5];
	} head; /* the IP header, without options */
	struct echo echo;
	u32 version;
	u32 is_request; /* else it is a reply */
};

static __always_inline int is_echo_request(u32 version, u8 type)
{
	return type == (version == 4 ? ECHO_REQUEST : ECHO_REQUEST_V6);
}

static __always_inline int is_echo_reply(u32 version, u8 type)
{
	return type == (version == 4 ? ECHO_REPLY : ECHO_REPLY_V6);
}

/* Unreachable, source quench, time exceeded, parameter problem (RFC 792); 1 to 127 of ICMPv6 (RFC 4443). */
static __always_inline int is_error(u32 version, u8 type)
{
	if (version == 6)
		return type > 0 && type < 128;
	return type == 3 || type == 4 || type == 11 || type == 12;
}

static __always_inline int is_our_payload(const struct payload *payload)
{
	return payload->magic == PAYLOAD_MAGIC && payload->version == PAYLOAD_VERSION;
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

/* Contract: fills `packet` and returns 1 if the `bytes` bytes at `start` are a whole IP packet with an echo of ours,
 * without extension headers; returns 0 otherwise. */
static __always_inline int read_echo(const char *start, u32 bytes, struct packet *packet)
{
	const u8 *head = packet->head.at;
	u32 header_bytes = 40;

	if (bpf_probe_read_kernel(&packet->head, sizeof(packet->head), start))
		return 0;
	packet->version = head[0] >> 4;
	if (packet->version == 4 && head[9] == PROTOCOL_ICMP && (big_endian_16(head + 6) & 0x3fff) == 0)
		header_bytes = (head[0] & 15) * 4;
	else if (packet->version != 6 || head[6] != PROTOCOL_ICMPV6)
		return 0;
	if (bytes != header_bytes + ECHO_BYTES)
		return 0;
	if (bpf_probe_read_kernel(&packet->echo, sizeof(packet->echo), start + header_bytes))
		return 0;
	packet->is_request = is_echo_request(packet->version, packet->echo.icmp.type);
	if (!packet->is_request && !is_echo_reply(packet->version, packet->echo.icmp.type))
		return 0;
	return is_our_payload(&packet->echo.payload);
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

/* Counts a packet only if it has our identifier: another program of this host may use monlat's format as well. */
static __always_inline void count_unmatched(u32 reason, const struct icmp_header *icmp)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);
	struct unmatched *all = unmatched.lookup(&key);

	if (all && current && current->identifier == __builtin_bswap16(icmp->identifier))
		__sync_fetch_and_add(&all->packets[reason], 1);
}

/* Other network namespaces pass through the same hooks. */
static __always_inline int is_our_namespace(const char *device)
{
	char *net = 0;
	u32 inode = 0;

	bpf_probe_read_kernel(&net, sizeof(net), device + NET_DEVICE_ND_NET);
	bpf_probe_read_kernel(&inode, sizeof(inode), net + NET_NS_INUM);
	return inode == NETNS_INODE;
}

/* Contract: returns the probe that a payload names, whoever sent it; 0 if there is none. */
static __always_inline struct probe *live_probe(const struct payload *payload)
{
	u32 slot = payload->slot;
	struct probe *probe = probes.lookup(&slot);

	return probe && probe->nonce && probe->nonce == payload->nonce ? probe : 0;
}
