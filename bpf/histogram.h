/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The histogram bucket of a time: edges at 2^(k/8) seconds, a bucket holds its upper edge.
 *
 * A time is shifted left until it is in the highest octave, and compared with the edges there. The shift loses no bit
 * and the edges are rounded down, so the result is exact for whole nanoseconds. */

#define HIGHEST_EDGE (1000000000ULL << HIGHEST_OCTAVE)
_Static_assert(HIGHEST_EDGE == 8000000000ULL, "the edges below are those of the octave up to 8 s");

/* 1 or 0. A comparison would be a branch, and the verifier walks every path. */
#define is_above(nanoseconds, edge) (((edge) - (nanoseconds)) >> 63)

/* Returns a bucket below BUCKETS. */
static __always_inline u32 bucket_of(u64 nanoseconds)
{
	u64 scaled = nanoseconds;
	u32 octave = HIGHEST_OCTAVE - LOWEST_OCTAVE, bucket;

	if (nanoseconds > HIGHEST_EDGE)
		return BUCKETS - 1;
#pragma unroll
	for (int i = 0; i < HIGHEST_OCTAVE - LOWEST_OCTAVE; i++) {
		u64 is_lower = !is_above(scaled, HIGHEST_EDGE / 2);

		scaled <<= is_lower;
		octave -= is_lower;
	}
	if (octave == 0)
		return 0;

	bucket = (octave - 1) * BUCKETS_PER_OCTAVE + 1;
	bucket += is_above(scaled, 4362030930ULL); /* HIGHEST_EDGE * 2^(-7/8), rounded down; the rest likewise */
	bucket += is_above(scaled, 4756828460ULL);
	bucket += is_above(scaled, 5187358218ULL);
	bucket += is_above(scaled, 5656854249ULL);
	bucket += is_above(scaled, 6168843301ULL);
	bucket += is_above(scaled, 6727171322ULL);
	bucket += is_above(scaled, 7336032345ULL);
	return bucket;
}

static __always_inline void add_sample(struct histogram *histogram, u64 nanoseconds)
{
	u64 bucket = bucket_of(nanoseconds);

	asm volatile("" : "+r"(bucket)); /* else clang drops the next line as redundant, but the verifier needs it */
	if (bucket > BUCKETS - 1)
		return;
	__sync_fetch_and_add(&histogram->buckets[bucket], 1);
	__sync_fetch_and_add(&histogram->sum, nanoseconds);
	__sync_fetch_and_add(&histogram->count, 1);
}
