/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Transmit: net_dev_start_xmit(skb, device) fires after the queueing discipline, just before the driver's transmit
 * function, once for each device on the way (VLAN, bond, then the card).
 */

int monlat_transmit(struct bpf_raw_tracepoint_args *ctx)
{
	const char *skb = (const char *)ctx->args[0];
	struct skb_window window;
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
	if (before > linear || linear - before < SHORTEST_REQUEST || linear - before > LONGEST_REQUEST)
		return 0;
	transmit(window_field(&window, char *, SKB_DATA) + before, linear - before, (const char *)ctx->args[1],
		 window_field(&window, u32, SKB_SKB_IIF) == 0);
	return 0;
}
