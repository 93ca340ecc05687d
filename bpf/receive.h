/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Receive: napi_gro_receive_entry(skb), napi_gro_frags_entry(skb) and netif_rx(skb) fire where a driver hands a packet
 * over. netif_receive_skb(skb) fires where the stack takes it: for a driver that uses none of the others it is the
 * first. A packet passes several of them, and those of upper devices; the first one in the agent's namespace counts.
 *
 * An upper device (macvlan, a VLAN) in a namespace of its own has no hook there, and no bpf_redirect_peer has one. The
 * hook of the device that delivers to it is in another namespace: of several such devices the last one counts. */

#define CHECKSUM_PARTIAL 3 /* linux/skbuff.h: a device still owes the checksum */

/* `is_fresh`: as in struct packet. */
static __always_inline void stamp(struct stamps *stamps, const char *skb, int is_fresh)
{
	u64 now = bpf_ktime_get_ns();
	char *device = member(char *, skb, SKB_DEV);
	u32 index;

	stamps->checksum_owed = (member(u8, skb, SKB_IP_SUMMED) >> SKB_IP_SUMMED_BIT & 3) == CHECKSUM_PARTIAL;
	if (is_our_namespace(device)) {
		if (stamps->own == 0 || (stamps->forwarded && is_fresh)) {
			stamps->own = now;
			stamps->forwarded = 0;
		}
	} else {
		index = member(u32, device, NET_DEVICE_IFINDEX);
		if (stamps->other == 0 || stamps->other_device != index)
			stamps->other = now;
		stamps->other_device = index;
	}
}

int monlat_receive(u64 *ctx)
{
	const char *skb = (const char *)ctx[0];
	struct packet packet;
	struct request_stamp *request;
	struct probe *probe;

	if (!read_packet(skb, 0, &packet))
		return 0;
	if (packet.kind == REPLY) {
		probe = live_probe(packet.echo.payload.slot, packet.echo.payload.nonce);
		if (probe)
			stamp(&probe->stamps, skb, packet.is_fresh);
		return 0;
	}
	request = request_stamp_of(packet.echo.payload.nonce);
	if (!request)
		return 0;
	if (request->nonce != packet.echo.payload.nonce)
		*request = (struct request_stamp){.nonce = packet.echo.payload.nonce};
	stamp(&request->stamps, skb, 0);
	return 0;
}
