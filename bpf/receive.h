/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Receive: napi_gro_receive_entry(skb) and netif_rx(skb) fire where a driver hands a packet over.
 * netif_receive_skb(skb) fires where the stack takes it: for a driver that uses neither of the others it is the first.
 */

static __always_inline int received(struct bpf_raw_tracepoint_args *ctx, int in_stack)
{
	const char *skb = (const char *)ctx->args[0];
	struct skb_window window;
	u32 bytes, linear, tag = 0;
	u16 protocol;

	if (bpf_probe_read_kernel(&window, sizeof(window), skb + SKB_WINDOW))
		return 0;
	protocol = window_field(&window, u16, SKB_PROTOCOL);
	if (protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_SVLAN)
		tag = VLAN_TAG_BYTES;
	else if (protocol != ETHERTYPE_IPV4 && protocol != ETHERTYPE_IPV6)
		return 0;

	/* only the headers of a large packet may be linear, so check its whole length as well */
	bytes = window_field(&window, u32, SKB_LEN) - tag;
	linear = bytes - window_field(&window, u32, SKB_DATA_LEN);
	if (linear < SHORTEST_PACKET || bytes > LONGEST_PACKET)
		return 0;
	receive(window_field(&window, char *, SKB_DATA) + tag, linear, skb,
		in_stack && window_field(&window, u32, SKB_SKB_IIF) == 0);
	return 0;
}

int monlat_napi(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 0); }
int monlat_rx(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 0); }
int monlat_stack(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 1); }
