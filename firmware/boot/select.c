#include "boot.h"
#include "state.h"

/* What a slot claims, before anything is verified. */
enum claim { CLAIM_FAILED, CLAIM_TRIED, CLAIM_CONFIRMED, CLAIM_NEW };

static enum claim claim_of(struct trailer t)
{
	if (t.confirmed) {
		return CLAIM_CONFIRMED;
	}
	if (t.failed) {
		return CLAIM_FAILED;
	}
	return t.tried ? CLAIM_TRIED : CLAIM_NEW;
}

/* Whether slot A is to be looked at before slot B: new before confirmed before
 * tried before failed, then the higher sequence. */
static bool a_first(struct trailer a, struct trailer b)
{
	const enum claim of_a = claim_of(a);
	const enum claim of_b = claim_of(b);

	return of_a != of_b ? of_a > of_b : a.sequence >= b.sequence;
}

unsigned boot_select(bool crashed)
{
	const struct trailer t[SLOTS] = { trailer_read(SLOT_A), trailer_read(SLOT_B) };
	const uint32_t floor = counter_read(COUNTER_FLOOR);
	const enum slot first = a_first(t[SLOT_A], t[SLOT_B]) ? SLOT_A : SLOT_B;
	const enum slot order[SLOTS] = { first, first == SLOT_A ? SLOT_B : SLOT_A };
	bool blamed = false;

	/* Verifying takes most of a start, so the second is verified only when the
	 * first is not whole. */
	for (unsigned i = 0; i < SLOTS; i++) {
		const enum slot s = order[i];
		const enum claim c = claim_of(t[s]);
		struct image image;

		if (image_check(s, floor, &image) != FAIL_NONE) {
			continue;
		}
		if (c == CLAIM_NEW && !trailer_try(s)) {
			continue; /* a trial that cannot be marked would never end */
		}
		if (crashed && c == CLAIM_TRIED && !blamed) {
			/* It ran: what is preferred to it now was then too. */
			(void)trailer_fail(s);
			blamed = true;
			continue;
		}
		if (crashed && c == CLAIM_FAILED) {
			continue; /* recovery first, and then once more */
		}
		return s;
	}
	return NO_SLOT;
}

enum slot boot_target(void)
{
	const uint32_t floor = counter_read(COUNTER_FLOOR);
	struct image image;
	const bool a = image_check(SLOT_A, floor, &image) == FAIL_NONE;

	return boot_target_of(a, !a || image_check(SLOT_B, floor, &image) == FAIL_NONE);
}

enum slot boot_target_of(bool a_whole, bool b_whole)
{
	const struct trailer t[SLOTS] = { trailer_read(SLOT_A), trailer_read(SLOT_B) };

	if (!a_whole) {
		return SLOT_A;
	}
	if (!b_whole) {
		return SLOT_B;
	}
	/* Keep what is known to work; of two alike, the one that would start. */
	const bool keep_a = t[SLOT_A].confirmed != t[SLOT_B].confirmed ? t[SLOT_A].confirmed
	                                                               : a_first(t[SLOT_A], t[SLOT_B]);

	return keep_a ? SLOT_B : SLOT_A;
}
