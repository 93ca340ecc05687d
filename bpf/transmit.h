/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Transmit: net_dev_start_xmit(skb, device) fires after the queueing discipline, just before the driver's transmit
 * function, once for each device on the way (VLAN, bond, then the card).
 */

/* VLAN, bridge, team (priv_flags, linux/netdevice.h): a lower device transmits the packet after them, or this host
 * drops it before that. */
#define UPPER_DEVICES 0x400003

/* A clone, a mirror's copy and a forwarded packet belong to no socket of ours. */
static __always_inline int is_of_our_socket(const void *skb)
{
	u32 key = 0;
	struct settings *current = settings.lookup(&key);
	char *sock = 0;
	u64 cookie = 0;

	bpf_probe_read_kernel(&sock, sizeof(sock), skb + SKB_SK);
	if (!sock || !current || bpf_probe_read_kernel(&cookie, sizeof(cookie), sock + SOCK_COOKIE))
		return 0;
	return cookie && (cookie == current->cookies[0] || cookie == current->cookies[1]);
}

/* `made_here`: no device of this machine has received the packet. */
static __always_inline void transmit(struct packet *packet, const void *skb, const char *device, int made_here)
{
	struct probe *probe = live_probe(&packet->echo.payload);
	u32 flags = 0;

	if (packet->is_request) {
		bpf_probe_read_kernel(&flags, sizeof(flags), device + NET_DEVICE_PRIV_FLAGS);
		if (!probe || probe->received || flags & UPPER_DEVICES)
			return;
		/* tc mirrors a clone, but redirects a clone as well and drops the original */
		if (!(made_here && is_of_our_socket(skb)) && (probe->transmitted || !is_our_namespace(device)))
			return;
		bpf_probe_read_kernel(&probe->device, sizeof(probe->device), device + NET_DEVICE_IFINDEX);
		probe->transmitted = bpf_ktime_get_ns();
	} else if (is_our_namespace(device)) {
		if (made_here)
			transmit_reply(packet);
		if (probe)
			probe->forwarded = 1; /* by this host, which filters for itself or for others */
	}
}

int monlat_transmit(struct bpf_raw_tracepoint_args *ctx)
{
	const char *skb = (const char *)ctx->args[0];
	struct skb_window window;
	struct packet packet;
	u32 linear, before;
	u16 protocol;

	if (bpf_probe_read_kernel(&window, sizeof(window), skb + SKB_WINDOW))
		return 0;
	protocol = window_field(&window, u16, SKB_PROTOCOL);
	if (protocol != ETHERTYPE_IPV4 && protocol != ETHERTYPE_IPV6 && protocol != ETHERTYPE_VLAN &&
	    protocol != ETHERTYPE_SVLAN)
		return 0;

	/* a VLAN tag inserted in front does not move the network header */
	linear = window_field(&window, u32, SKB_LEN) - window_field(&window, u32, SKB_DATA_LEN);
	before = window_field(&window, char *, SKB_HEAD) + window_field(&window, u16, SKB_NETWORK_HEADER) -
		 window_field(&window, char *, SKB_DATA);
	if (before > linear || linear - before < SHORTEST_ECHO || linear - before > LONGEST_ECHO)
		return 0;
	if (read_echo(window_field(&window, char *, SKB_DATA) + before, linear - before, &packet))
		transmit(&packet, skb, (const char *)ctx->args[1], window_field(&window, u32, SKB_SKB_IIF) == 0);
	return 0;
}
