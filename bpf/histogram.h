/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The histogram bucket of a time: edges at 2^(k/8) seconds, a bucket holds its upper edge.
 *
 * Let o be the lowest octave whose upper edge 10^9 * 2^(LOWEST_OCTAVE + o) ns holds the time. The time, shifted left
 * by (SPAN - o), is compared with the edges of the highest octave. The shift loses no bit and the edges are rounded
 * down, so the result is exact for whole nanoseconds.
 */

#define SPAN (HIGHEST_OCTAVE - LOWEST_OCTAVE)
#define HIGHEST_EDGE (1000000000ULL << HIGHEST_OCTAVE)
_Static_assert(HIGHEST_EDGE == 8000000000ULL, "the edges below are those of the octave up to 8 s");

/* Returns the position of the highest bit that is set, from 1; 0 if none is. Kernel programs have no instruction for
 * this. */
static __always_inline u32 bit_length(u32 value)
{
	u32 bits = 0;

	if (value & 0xffff0000) { bits += 16; value >>= 16; }
	if (value & 0xff00) { bits += 8; value >>= 8; }
	if (value & 0xf0) { bits += 4; value >>= 4; }
	if (value & 0xc) { bits += 2; value >>= 2; }
	if (value & 0x2) { bits += 1; value >>= 1; }
	return bits + value;
}

/* Returns a bucket below BUCKETS. */
static __always_inline u32 bucket_of(u64 nanoseconds)
{
	u64 scaled;
	u32 octave, bucket;

	if (nanoseconds > HIGHEST_EDGE)
		return BUCKETS - 1;
	if (nanoseconds == 0)
		return 0;

	/* o is the smallest with ns << SPAN <= HIGHEST_EDGE << o, that is the bit length of this quotient */
	octave = bit_length((u32)(((nanoseconds << SPAN) - 1) / HIGHEST_EDGE));
	if (octave == 0)
		return 0;

	scaled = nanoseconds << (SPAN - octave);
	bucket = (octave - 1) * BUCKETS_PER_OCTAVE + 1;
	bucket += scaled > 4362030930ULL; /* HIGHEST_EDGE * 2^(-7/8), rounded down; the rest likewise */
	bucket += scaled > 4756828460ULL;
	bucket += scaled > 5187358218ULL;
	bucket += scaled > 5656854249ULL;
	bucket += scaled > 6168843301ULL;
	bucket += scaled > 6727171322ULL;
	bucket += scaled > 7336032345ULL;
	return bucket;
}

/* Contract: returns the bucket within bounds that the verifier sees. It loses a bound in a register narrower than 64
 * bits. */
static __always_inline u64 checked_bucket_of(u64 nanoseconds)
{
	u64 bucket = bucket_of(nanoseconds);

	asm volatile("" : "+r"(bucket)); /* else clang drops the next line as redundant, but the verifier needs it */
	return bucket > BUCKETS - 1 ? BUCKETS - 1 : bucket;
}

static __always_inline void add_sample(struct histogram *histogram, u64 nanoseconds)
{
	u64 bucket = checked_bucket_of(nanoseconds);

	__sync_fetch_and_add(&histogram->buckets[bucket], 1);
	__sync_fetch_and_add(&histogram->sum, nanoseconds);
	__sync_fetch_and_add(&histogram->count, 1);
}
