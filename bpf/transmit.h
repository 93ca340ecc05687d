/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Transmit: net_dev_start_xmit(skb, device) fires after the queueing discipline, just before the driver's transmit
 * function, once for each device on the way (VLAN, bond, then the card). */

/* VLAN, bridge, team (priv_flags, linux/netdevice.h): a lower device transmits the packet after them, or this host
 * drops it before that. */
#define UPPER_DEVICES 0x400003

/* A clone, a mirror's copy and a forwarded packet belong to no socket of ours. */
static __always_inline int is_of_our_socket(const char *skb)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);
	char *sock = member(char *, skb, SKB_SK);
	u64 cookie;

	if (!current || !sock)
		return 0;
	cookie = member(u64, sock, SOCK_COOKIE);
	if (cookie == 0)
		return 0;
#pragma unroll
	for (int i = 0; i < SENDING_SOCKETS; i++) {
		if (cookie == current->cookies[i])
			return 1;
	}
	return 0;
}

int monlat_transmit(u64 *ctx)
{
	const char *skb = (const char *)ctx[0], *device = (const char *)ctx[1];
	struct packet packet;
	struct probe *probe;
	u32 is_original;

	if (!read_packet(skb, 1, &packet))
		return 0;
	probe = live_probe(packet.echo.payload.slot, packet.echo.payload.nonce);
	if (packet.kind == REQUEST) {
		if (!probe || probe->received || member(u32, device, NET_DEVICE_PRIV_FLAGS) & UPPER_DEVICES)
			return 0;
		/* tc mirrors a clone, but redirects a clone as well and drops the original: a clone counts without one */
		is_original = packet.is_fresh && is_of_our_socket(skb);
		if (!is_original && (probe->is_original || !is_our_namespace(device)))
			return 0;
		probe->is_original = is_original;
		probe->device = member(u32, device, NET_DEVICE_IFINDEX);
		probe->transmitted = bpf_ktime_get_ns();
	} else if (is_our_namespace(device)) {
		if (packet.is_fresh)
			transmit_reply(&packet);
		if (probe)
			probe->stamps.forwarded = 1; /* by this host, which filters for itself or for others */
	}
	return 0;
}
