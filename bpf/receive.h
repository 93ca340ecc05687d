/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Receive: napi_gro_receive_entry(skb), napi_gro_frags_entry(skb) and netif_rx(skb) fire where a driver hands a packet
 * over. netif_receive_skb(skb) fires where the stack takes it: for a driver that uses none of the others it is the
 * first. A packet passes several of them, and those of upper devices; the first one in the agent's namespace counts.
 *
 * An upper device (macvlan, a VLAN) in a namespace of its own has no hook there, and no bpf_redirect_peer has one. The
 * hook of the device that delivers to it is in another namespace: of several such devices the last one counts.
 */

/* Returns 1 if a device still owes the checksum: the packet never left this machine. */
static __always_inline int owes_checksum(const void *skb)
{
	u8 bits = 0;

	bpf_probe_read_kernel(&bits, sizeof(bits), skb + SKB_IP_SUMMED);
	return (bits >> SKB_IP_SUMMED_BIT & 3) == CHECKSUM_PARTIAL;
}

#define stamp(seen, skb, again)                                                                   \
	{                                                                                         \
		char *device = 0;                                                                 \
		u32 index = 0;                                                                    \
												  \
		bpf_probe_read_kernel(&device, sizeof(device), skb + SKB_DEV);                    \
		(seen)->checksum_owed = owes_checksum(skb);                                       \
		if (is_our_namespace(device)) {                                                   \
			if ((seen)->own_stamp == 0 || (again))                                    \
				(seen)->own_stamp = bpf_ktime_get_ns();                           \
		} else {                                                                          \
			bpf_probe_read_kernel(&index, sizeof(index), device + NET_DEVICE_IFINDEX); \
			if ((seen)->other_stamp == 0 || (seen)->other_device != index)            \
				(seen)->other_stamp = bpf_ktime_get_ns();                         \
			(seen)->other_device = index;                                             \
		}                                                                                 \
	}

/* `is_fresh`: no device of this namespace has received the packet since a driver made it. */
static __always_inline void receive(const struct packet *packet, const void *skb, int is_fresh)
{
	u64 nonce = packet->echo.payload.nonce, before;
	struct request_stamp *request;
	struct probe *probe;

	if (!packet->is_request) {
		probe = live_probe(&packet->echo.payload);
		if (!probe)
			return;
		before = probe->own_stamp;
		stamp(probe, skb, probe->forwarded && is_fresh);
		if (probe->own_stamp != before)
			probe->forwarded = 0;
		return;
	}
	request = request_stamp_of(nonce);
	if (!request)
		return;
	if (request->nonce != nonce) {
		request->own_stamp = 0;
		request->other_stamp = 0;
		request->nonce = nonce;
	}
	stamp(request, skb, 0);
}

/* `in_frags`: the data is in a page, whose address the kernel keeps in the control block. */
static __always_inline int received(struct bpf_raw_tracepoint_args *ctx, int in_frags)
{
	const char *skb = (const char *)ctx->args[0];
	struct skb_window window;
	struct packet packet;
	char *start;
	u32 bytes;
	u16 protocol;

	if (bpf_probe_read_kernel(&window, sizeof(window), skb + SKB_WINDOW))
		return 0;
	protocol = window_field(&window, u16, SKB_PROTOCOL);
	bytes = window_field(&window, u32, SKB_LEN);
	if (bytes < SHORTEST_ECHO || bytes > LONGEST_ECHO + 2 * VLAN_TAG_BYTES)
		return 0;
	start = window_field(&window, char *, SKB_DATA);
	if (window_field(&window, u32, SKB_DATA_LEN)) {
		char *data = start;

		if (!in_frags || window_field(&window, u32, SKB_DATA_LEN) != bytes ||
		    bpf_probe_read_kernel(&start, sizeof(start), skb + SKB_FRAG0) || start == data)
			return 0;
	}
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_SVLAN) {
			bpf_probe_read_kernel(&protocol, sizeof(protocol), start + 2);
			start += VLAN_TAG_BYTES;
			bytes -= VLAN_TAG_BYTES;
		}
	}
	if (protocol != ETHERTYPE_IPV4 && protocol != ETHERTYPE_IPV6)
		return 0;
	if (read_echo(start, bytes, &packet))
		receive(&packet, skb, window_field(&window, u32, SKB_SKB_IIF) == 0);
	return 0;
}

int monlat_napi(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 0); }
int monlat_frags(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 1); }
int monlat_rx(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 0); }
int monlat_stack(struct bpf_raw_tracepoint_args *ctx) { return received(ctx, 0); }
