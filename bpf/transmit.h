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
	char *sock = 0;
	u64 cookie = 0;

	bpf_probe_read_kernel(&sock, sizeof(sock), skb + SKB_SK);
	if (!current || bpf_probe_read_kernel(&cookie, sizeof(cookie), sock + SOCK_COOKIE) || cookie == 0)
		return 0;
#pragma unroll
	for (int i = 0; i < SENDING_SOCKETS; i++) {
		if (cookie == current->cookies[i])
			return 1;
	}
	return 0;
}

int monlat_transmit(struct bpf_raw_tracepoint_args *ctx)
{
	const char *skb = (const char *)ctx->args[0], *device = (const char *)ctx->args[1];
	struct packet packet;
	struct probe *probe;
	u32 flags = 0, is_original;

	if (!read_packet(skb, 1, &packet))
		return 0;
	probe = live_probe(packet.echo.payload.slot, packet.echo.payload.nonce);
	if (packet.kind == REQUEST) {
		bpf_probe_read_kernel(&flags, sizeof(flags), device + NET_DEVICE_PRIV_FLAGS);
		if (!probe || probe->received || flags & UPPER_DEVICES)
			return 0;
		/* tc mirrors a clone, but redirects a clone as well and drops the original: a clone counts without one */
		is_original = packet.is_fresh && is_of_our_socket(skb);
		if (!is_original && (probe->is_original || !is_our_namespace(device)))
			return 0;
		probe->is_original = is_original;
		bpf_probe_read_kernel(&probe->device, sizeof(probe->device), device + NET_DEVICE_IFINDEX);
		probe->transmitted = bpf_ktime_get_ns();
	} else if (is_our_namespace(device)) {
		if (packet.is_fresh)
			transmit_reply(&packet);
		if (probe)
			probe->stamps.forwarded = 1; /* by this host, which filters for itself or for others */
	}
	return 0;
}
