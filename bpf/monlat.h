/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the kernel program and Python: every constant and every layout that both know
 * stands here, once. monlat_ebpf/abi/layout.py reads this text, so keep to what it understands: object-like
 * #defines whose value is an integer expression, and structs of u8, u16, u32, u64, arrays of them, and
 * structs named before. Members are naturally aligned, so that C and Python agree without padding.
 *
 * A target is one address of one peer. It owns PROBES_PER_TARGET neighbouring places in the table of
 * probes: the probe in place `slot` belongs to target `slot / PROBES_PER_TARGET`.
 */
#ifndef MONLAT_H
#define MONLAT_H

#define PAYLOAD_MAGIC 0x746c6e6d /* "mnlt" on the wire, little-endian like all of the payload */
#define PAYLOAD_VERSION 1        /* a payload of another version is an ordinary echo to us */

#define PROBES_PER_TARGET 16 /* in flight at once: a 1 s timeout at 10 probes a second, and spare */

/* Histogram: base 2, BUCKETS_PER_OCTAVE buckets to the octave, edges 2^(k/8) seconds (Prometheus native
 * histogram schema 3). Bucket 0 holds all up to 2^LOWEST_OCTAVE s, the last one all above 2^HIGHEST_OCTAVE s;
 * a bucket holds its upper edge. */
#define BUCKETS_PER_OCTAVE 8
#define LOWEST_OCTAVE -20 /* 2^-20 s = 0.95 us: under the fastest veth */
#define HIGHEST_OCTAVE 3  /* 8 s: over any timeout that makes sense */
#define BUCKETS ((HIGHEST_OCTAVE - LOWEST_OCTAVE) * BUCKETS_PER_OCTAVE + 2)

/* What the sender's kernel saw of the receiver's last request; all zeros: nothing yet (DESIGN section 4). */
struct feedback {
	u64 nonce;    /* of the receiver's request */
	u64 received; /* t2, wall time, ns */
	u32 dwell;    /* t3 - t2, ns; 0: seen, but not answered */
	u16 before;   /* bit i: the request of that one's sequence - 1 - i was seen as well */
	u16 after;    /* bit i: that of its sequence + 1 + i was; only while they wait to be answered */
};

/* The echo's payload, as it is on the wire. */
struct payload {
	u32 magic;
	u8 version;
	u8 flags;
	u16 reserved;
	u32 slot;
	u32 sequence;
	u64 nonce; /* random but for its lowest bits: the place, slot % PROBES_PER_TARGET */
	struct feedback feedback;
	u8 padding[8];
};

/* One probe in flight. The agent writes what stands above the line before it sends, with zeros below, the
 * nonce last; the kernel program writes what stands below. Times are CLOCK_MONOTONIC, ns; 0: not yet. */
struct probe {
	u64 nonce; /* 0: no probe in this place */
	u64 sent;  /* t0 */
	u64 deadline;
	u8 address[16]; /* of the peer; IPv4 as ::ffff:a.b.c.d */
	/* --- */
	u64 transmitted; /* t1: the last transmit wins */
	u64 received;    /* t4: the first receive wins, past the deadline as well */
	u32 device;      /* interface index of that transmit */
	u8 error_type;   /* ICMP error that ended the probe; 0: none */
	u8 error_code;
	u8 replies; /* packets, not hooks: a second one is a duplicate */
	u8 errors;
};

/* What both ends saw, by target and place: the peer's request with that place in its nonce, and what the peer
 * said of our probe in that place. The kernel program alone writes it. */
struct exchange {
	u64 nonce;       /* of the peer's request */
	u64 received;    /* t2 of it: the first receive wins */
	u64 transmitted; /* t3 of it: the last transmit wins; 0: not answered yet */
	u32 sequence;
	u32 requests;      /* packets, not hooks: after a second one, t3 could be of either answer */
	u64 fed_nonce;     /* of our probe, whose t2 and dwell follow */
	u64 peer_received; /* t2, in the peer's wall time */
	u64 dwell;         /* t3 - t2 */
};

/* An address whose requests we serve, in a hash table of our own (the agent may no longer call bpf() when
 * peers change): open addressing, at most PEER_INDEX_STEPS steps, written by the agent alone. */
#define PEER_INDEX_STEPS 12
#define PEER_INDEX_ENTRIES_PER_TARGET 4 /* sparse, so that these steps do for all but one set in hundreds of full ones */
struct peer_entry {
	u8 address[16];
	u32 target;
	u32 used; /* 0: empty, and the end of every search */
};

/* What the agent tells the program while it runs. */
struct settings {
	u64 wall_offset; /* from CLOCK_MONOTONIC to the wall clock, ns */
};

struct histogram {
	u64 count;
	u64 sum; /* ns */
	u64 buckets[BUCKETS];
};

/* What the kernel program adds up for one target. The agent only reads it, and zeroes it before reuse. */
struct target {
	u64 replies; /* in the histogram: t1 known, t4 before the deadline */
	u64 rtt_sum; /* ns */
	u64 late;
	u64 duplicates;
	u64 buckets[BUCKETS];
};

/* The same for a peer that probes us as well. */
struct session {
	struct histogram network_rtt;
	struct histogram dwell;
	u8 own_address[16];  /* of this node, from which the peer was last answered; zeros: not yet */
	u64 served_nonce;    /* of the peer's last request: the one of the highest sequence */
	u32 served_sequence; /* the highest of its sequences, and which ones before it were seen */
	u32 served_before;
	u64 report_received;      /* when the peer's newest request with feedback that names a probe of ours came */
	u64 report_nonce;  /* that probe */
	u32 report_before; /* bits, as in feedback */
	u32 report_after;
	u64 fed_nonce;    /* the last probe of ours whose dwell was told */
};

/* Packets that carry our magic, or quote it, and yet are no answer to a probe of ours, by reason. */
#define UNMATCHED_MALFORMED_PAYLOAD 0 /* not of a payload's length */
#define UNMATCHED_SLOT_OUT_OF_RANGE 1
#define UNMATCHED_NO_PROBE 2       /* the place is empty */
#define UNMATCHED_NONCE_MISMATCH 3 /* forged, of another program, or so late that the place is in use again */
#define UNMATCHED_WRONG_ADDRESS 4  /* right nonce, but not from the peer */
#define UNMATCHED_BAD_CHECKSUM 5
#define UNMATCHED_FRAGMENT 6
#define UNMATCHED_TRUNCATED_QUOTE 7  /* an ICMP error that quotes the magic, but not up to the nonce */
#define UNMATCHED_STALE_ERROR 8      /* an ICMP error for a probe that had ended */
#define UNMATCHED_NOT_TRANSMITTED 9  /* a reply to a probe whose transmit no hook saw: no RTT can be had */
#define UNMATCHED_REASONS 10

/* Feedback that makes no sample, by reason. */
#define FEEDBACK_UNKNOWN_PEER 0   /* from an address that is not probed */
#define FEEDBACK_NONCE_MISMATCH 1 /* of no probe of ours to that peer, or of one so old that its place is in use again */
#define FEEDBACK_DWELL_OVER_RTT 2
#define FEEDBACK_CLOCK_APART 3 /* t2 over CLOCK_LIMIT from our wall clock */
#define FEEDBACK_REASONS 4
#define CLOCK_LIMIT 3600000000000 /* ns: an hour; a time zone taken for UTC is refused, a clock never set as well */

struct rejected_feedback {
	u64 packets[FEEDBACK_REASONS];
};

struct unmatched {
	u64 packets[UNMATCHED_REASONS];
};

#endif
