/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the kernel program and Python: every constant and layout that both use is defined here and
 * nowhere else. monlat_ebpf/abi/layout.py reads this text and understands only object-like #defines of integer
 * expressions, and structs of u8, u16, u32, u64, arrays of these, and structs defined before. Members are naturally
 * aligned, so that C and Python agree without padding.
 *
 * A target is one address of one peer. It owns PROBES_PER_TARGET slots in a row: the probe in `slot` belongs to target
 * `slot / PROBES_PER_TARGET`. */
#ifndef MONLAT_H
#define MONLAT_H

#define PAYLOAD_MAGIC 0x746c6e6d /* "mnlt" on the wire; the whole payload is little-endian */
#define PAYLOAD_VERSION 1        /* we treat a payload of another version as an ordinary echo */

#define PROBES_PER_TARGET 16 /* probes in flight: 1 s timeout at 10 a second, and spare */

/* Histogram: BUCKETS_PER_OCTAVE buckets to the octave, edges at 2^(k/8) seconds (Prometheus native histogram schema
 * 3). Bucket 0 holds all up to 2^LOWEST_OCTAVE s, the last one all above 2^HIGHEST_OCTAVE s. A bucket holds its upper
 * edge. */
#define BUCKETS_PER_OCTAVE 8
#define LOWEST_OCTAVE -20 /* 2^-20 s = 0.95 us: under the fastest veth */
#define HIGHEST_OCTAVE 3  /* 8 s: over any timeout that makes sense */
#define BUCKETS ((HIGHEST_OCTAVE - LOWEST_OCTAVE) * BUCKETS_PER_OCTAVE + 2)

struct histogram {
	u64 count;
	u64 sum;              /* ns */
	u32 buckets[BUCKETS]; /* 2^32 samples take 136 years at one a second, 13 years at ten */
};

/* What the sender's kernel saw of a request of the receiver; all zeros: nothing yet. */
struct feedback {
	u64 nonce;    /* of the receiver's request */
	u64 received; /* t2, wall time, ns */
	u32 dwell;    /* t3 - t2, ns; 0: received, but not answered */
	u16 before;   /* bit i: sequence - 1 - i was received */
	u16 after;    /* bit i: sequence + 1 + i was received, its reply is still queued */
};

/* The payload of an echo, as on the wire. */
struct payload {
	u32 magic;
	u8 version;
	u8 known; /* of the feedback: the sender knows of that many sequences before the named one whether it received them */
	u16 reserved;
	u32 slot;
	u32 sequence;
	u64 nonce; /* lowest bits: slot % PROBES_PER_TARGET; the others are random */
	struct feedback feedback;
	u64 stream; /* random for each target of each run of an agent; 0: of a program that takes no part in feedback */
};

/* When the hooks saw a reply, or a request of a peer, until the stack delivers it. Times are CLOCK_MONOTONIC, ns; 0:
 * not yet. */
struct stamps {
	u64 own;          /* the first hook in the agent's network namespace that saw the packet */
	u64 other;        /* the first hook on the last device of another namespace that saw it */
	u32 other_device; /* interface index of that device */
	u16 checksum_owed; /* 1: the packet comes from this machine, and no device has computed its checksum */
	u16 forwarded;     /* 1: the packet left this namespace after `own`, and comes back later */
};

/* A probe in flight. Before it sends, the agent writes the first four members, zeros into the rest, and the nonce
 * last. Hooks write `transmitted`, `device`, `is_original` and `stamps`, filters all else. Times as in struct stamps. */
struct probe {
	u64 nonce; /* 0: no probe in this slot */
	u64 sent;  /* t0 */
	u64 deadline;
	u8 address[16];  /* of the peer; IPv4 as ::ffff:a.b.c.d */
	u64 transmitted; /* t1: the last transmit wins */
	u64 received;    /* t4 of the first reply that the stack delivered, even after the deadline */
	u32 device;      /* interface index of the transmit */
	u8 error_type;   /* of the ICMP error that ended the probe; 0: none */
	u8 error_code;
	u8 replies; /* delivered; the second one is a duplicate */
	u8 errors;
	u32 reply_device; /* interface index of the device that delivered the reply */
	u16 stamped_by;   /* STAMPED_BY_: who took `received` */
	u16 is_original;  /* 1: `transmitted` is of the packet of our socket, not of a clone */
	struct stamps stamps; /* of the reply */
};
#define STAMPED_BY_DRIVER 1
#define STAMPED_BY_STACK 2

/* A reply that is delivered later than this after its deadline is late, whenever its driver had it: the agent may have
 * given the probe its result. The agent waits for twice as long. */
#define DELIVERY_GRACE 5000000 /* ns */

/* A peer's request that is not delivered yet. One with the same bits in its nonce replaces it, which only costs the
 * stamp of a driver. */
#define REQUEST_STAMPS 4096
struct request_stamp {
	u64 nonce;
	struct stamps stamps;
};

/* What the kernel program counts for one target. The agent writes zeros before it reuses the target. */
struct target {
	struct histogram rtt; /* replies with a known t1 and with t4 before the deadline */
	u64 late;
	u64 duplicates;
};

/* What both ends saw of one request each: a request of a stream of the peer, and our probe with the same lowest bits in
 * its nonce (with the first stream's requests only). Only the kernel program writes it. */
#define STREAMS 2 /* of a peer: of an agent and of the one that replaces it, or of two agents at one address */
struct exchange {
	u64 nonce;       /* of the peer's request */
	u64 received;    /* its t2 */
	u64 transmitted; /* its t3: the last transmit wins; 0: not answered yet */
	u32 sequence;
	u16 stream;            /* the lowest bits of its stream */
	u8 requests;           /* delivered; after a second one, t3 may be of either reply */
	u8 counted;            /* 1: its dwell is in the histogram, so t3 is final */
	u64 reported_nonce;    /* of our probe that the peer reported */
	u64 reported_received; /* its t2, in the peer's wall time */
	u64 reported_dwell;    /* its t3 - t2 */
};

/* The requests of one run of a peer's agent. It proved itself by feedback on a live probe of ours. */
struct stream {
	u64 id;       /* 0: none */
	u64 nonce;    /* of the request with the highest sequence */
	u64 received; /* t2 of the last request */
	u32 sequence;
	u32 before; /* bit i: sequence - 1 - i was received */
	u64 known;  /* how many of these bits were followed; a 0 after them says nothing */
};

/* The session with a peer that probes us as well. */
struct session {
	struct histogram network_rtt;
	struct histogram dwell;
	struct stream first;
	struct stream second;
	u64 candidate;       /* nonce of the last request of an unproven stream; 0: a proven one came after it */
	u64 report_received; /* when the newest request came that carried feedback on a probe of ours */
	u64 report_known;
	struct feedback report;
	u64 reported_nonce; /* of the last probe of ours whose dwell the peer reported */
};

/* An entry of the hash table of peers: open addressing, at most PEER_INDEX_STEPS steps. Only the agent writes it. It
 * is not a hash map of the kernel, because the agent may no longer call bpf() when peers change. */
#define PEER_INDEX_STEPS 12
#define PEER_INDEX_ENTRIES_PER_TARGET 4 /* sparse: of hundreds of full sets all but one fit within the steps */
struct peer_entry {
	u8 address[16];
	u32 target;
	u32 used; /* 0: the entry is empty and ends every search */
};

#define SENDING_SOCKETS 4 /* two a family */
struct settings {
	u64 wall_offset;              /* wall clock minus CLOCK_MONOTONIC, ns */
	u64 cookies[SENDING_SOCKETS]; /* SO_COOKIE of the sockets that send our probes; 0: unused */
	u64 identifier;               /* of our echo requests */
};

/* Why a delivered packet with our identifier, which carries or quotes our magic, belongs to no probe of ours. */
#define UNMATCHED_MALFORMED_PAYLOAD 0 /* its length is not that of a payload */
#define UNMATCHED_SLOT_OUT_OF_RANGE 1
#define UNMATCHED_NO_PROBE 2       /* the slot is empty */
#define UNMATCHED_NONCE_MISMATCH 3 /* forged, of another program, or so late that the slot has been reused */
#define UNMATCHED_WRONG_ADDRESS 4  /* right nonce, but not from the peer */
#define UNMATCHED_BAD_CHECKSUM 5
#define UNMATCHED_TRUNCATED_QUOTE 6 /* the quote of an ICMP error ends between magic and nonce */
#define UNMATCHED_STALE_ERROR 7     /* an ICMP error for a probe that had ended */
#define UNMATCHED_NOT_TRANSMITTED 8 /* a reply without an RTT: no hook saw the transmit of its probe before it */

/* Why feedback makes no sample. */
#define FEEDBACK_UNKNOWN_PEER 9    /* from an address that we do not probe */
#define FEEDBACK_NONCE_MISMATCH 10 /* on no probe of ours to that peer, or on one whose slot has been reused */
#define FEEDBACK_DWELL_OVER_RTT 11
#define FEEDBACK_CLOCK_APART 12   /* t2 is over CLOCK_LIMIT from our wall clock */
#define CLOCK_LIMIT 3600000000000 /* ns, 1 h: rejects a clock that was never set, or set to a zone's time */

struct counts {
	u64 packets[FEEDBACK_CLOCK_APART + 1]; /* by the reasons above */
};

#endif
