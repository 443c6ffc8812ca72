#include "field.h"

#include "bytes.h"

/* 2^256 = 2p + 38: what is carried out of the highest word comes in again 38 times. */
#define FOLD 38u

void field_set(field out, uint32_t small)
{
	for (unsigned i = 0; i < FIELD_WORDS; i += 4u) { /* by four: no call of memset, which goes by bytes */
		out[i] = 0;
		out[i + 1u] = 0;
		out[i + 2u] = 0;
		out[i + 3u] = 0;
	}
	out[0] = small;
}

void field_copy(field out, const field a)
{
	for (unsigned i = 0; i < FIELD_WORDS; i += 4u) { /* by four: no call of memcpy, which goes by bytes */
		const uint32_t w0 = a[i];
		const uint32_t w1 = a[i + 1u];
		const uint32_t w2 = a[i + 2u];
		const uint32_t w3 = a[i + 3u];

		out[i] = w0;
		out[i + 1u] = w1;
		out[i + 2u] = w2;
		out[i + 3u] = w3;
	}
}

/* out += v; what is carried out. */
static uint32_t add_small(field out, uint32_t v)
{
	for (unsigned i = 0; i < FIELD_WORDS && v != 0u; i++) {
		out[i] += v;
		v = out[i] < v ? 1u : 0u;
	}
	return v;
}

/* out -= v; what is borrowed. */
static uint32_t sub_small(field out, uint32_t v)
{
	for (unsigned i = 0; i < FIELD_WORDS && v != 0u; i++) {
		const uint32_t was = out[i];

		out[i] = was - v;
		v = was < v ? 1u : 0u;
	}
	return v;
}

/* t[0..n) += a * b[0..n), n > 0; t[n] is set to what is carried. The M0 multiplies 32 by
 * 32 bits to 32 in one cycle and has no wider product: by halves. In each sum a product
 * of two halves, (2^16 - 1)^2, leaves room for two halves more. */
#ifdef __ARM_ARCH_6M__
void field_row(uint32_t *t, uint32_t a, const uint32_t *b, uint32_t n); /* all in hal/row.S */
uint32_t field_sum(uint32_t *out, const uint32_t *a, const uint32_t *b);
uint32_t field_rest(uint32_t *out, const uint32_t *a, const uint32_t *b);
void field_rows(uint32_t *t, const uint32_t *a, const uint32_t *b);
void field_diagonal(uint32_t *t, const uint32_t *a);
#else
static void field_row(uint32_t *t, uint32_t a, const uint32_t *b, uint32_t n)
{
	const uint32_t al = a & 0xFFFFu;
	const uint32_t ah = a >> 16;
	uint32_t carry = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t bl = b[i] & 0xFFFFu;
		const uint32_t bh = b[i] >> 16;
		const uint32_t ll = al * bl + (t[i] & 0xFFFFu) + (carry & 0xFFFFu);
		const uint32_t hl = ah * bl + (t[i] >> 16) + (ll >> 16);
		const uint32_t lh = al * bh + (hl & 0xFFFFu) + (carry >> 16);

		carry = ah * bh + (hl >> 16) + (lh >> 16);
		t[i] = lh << 16 | (ll & 0xFFFFu);
	}
	t[n] = carry;
}

/* out = a + b; the carry. */
static uint32_t field_sum(uint32_t *out, const uint32_t *a, const uint32_t *b)
{
	uint64_t u = 0;

	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		u += (uint64_t)a[i] + b[i];
		out[i] = (uint32_t)u;
		u >>= 32;
	}
	return (uint32_t)u;
}

/* out = a - b; the borrow. */
static uint32_t field_rest(uint32_t *out, const uint32_t *a, const uint32_t *b)
{
	uint64_t u = 0; /* 0, or all ones */

	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		u += (uint64_t)a[i] - b[i];
		out[i] = (uint32_t)u;
		u = 0u - (u >> 63);
	}
	return (uint32_t)u & 1u;
}

/* t[0..16) = a * b; t[0..8) comes as zeros. */
static void field_rows(uint32_t *t, const uint32_t *a, const uint32_t *b)
{
	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		field_row(t + i, a[i], b, FIELD_WORDS);
	}
}

/* t = 2 t + the square of each word of a in its place. */
static void field_diagonal(uint32_t *t, const uint32_t *a)
{
	uint32_t top = 0;
	uint32_t carry = 0;

	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		const uint32_t l = a[i] & 0xFFFFu;
		const uint32_t h = a[i] >> 16;
		const uint32_t ll = l * l;
		const uint32_t hh = h * h;
		const uint32_t lh = l * h; /* twice of it, 17 bits up, belongs to the square */
		const uint32_t lh_low = lh << 17;
		const uint32_t lh_high = lh >> 15;
		const uint32_t low = t[2u * i];
		const uint32_t high = t[2u * i + 1u];
		const uint32_t low2 = low << 1 | top;
		const uint32_t high2 = high << 1 | low >> 31;
		uint64_t u = (uint64_t)low2 + ll + carry + lh_low;

		t[2u * i] = (uint32_t)u;
		u = (u >> 32) + high2 + hh + lh_high;
		t[2u * i + 1u] = (uint32_t)u;
		carry = (uint32_t)(u >> 32);
		top = high >> 31;
	}
}
#endif

void field_add(field out, const field a, const field b)
{
	if (field_sum(out, a, b) != 0u && add_small(out, FOLD) != 0u) {
		out[0] += FOLD; /* the rest is 0 */
	}
}

void field_sub(field out, const field a, const field b)
{
	if (field_rest(out, a, b) != 0u && sub_small(out, FOLD) != 0u) {
		out[0] -= FOLD; /* the rest is all ones */
	}
}

/* out = t modulo 2p; t is lost. */
static void fold(field out, uint32_t t[2u * FIELD_WORDS])
{
	field_row(t, FOLD, t + FIELD_WORDS, FIELD_WORDS);
	field_copy(out, t);
	/* At most 38 are carried. */
	if (add_small(out, t[FIELD_WORDS] * FOLD) != 0u) {
		out[0] += FOLD;
	}
}

void field_mul(field out, const field a, const field b)
{
	uint32_t t[2u * FIELD_WORDS];

	field_set(t, 0);
	field_rows(t, a, b);
	fold(out, t);
}

void field_square(field out, const field a)
{
	uint32_t t[2u * FIELD_WORDS];

	/* Each product of two different words once, then twice, then the squares. */
	field_set(t, 0);
	t[FIELD_WORDS] = 0;
	for (unsigned i = 0; i + 1u < FIELD_WORDS; i++) {
		field_row(t + 2u * i + 1u, a[i], a + i + 1u, FIELD_WORDS - 1u - i);
	}
	t[2u * FIELD_WORDS - 1u] = 0;

	field_diagonal(t, a);
	fold(out, t);
}

/* out = a^(2^n) */
static void squares(field out, const field a, unsigned n)
{
	field_square(out, a);
	while (--n > 0u) {
		field_square(out, out);
	}
}

/* out = a^(2^250 - 1), and a^11 */
static void power(field out, field eleven, const field a)
{
	field t;
	field u;

	squares(t, a, 1);           /* 2 */
	squares(u, t, 2);           /* 8 */
	field_mul(u, u, a);         /* 9 */
	field_mul(eleven, t, u);    /* 11 */
	squares(t, eleven, 1);      /* 22 */
	field_mul(out, t, u);       /* 2^5 - 1 */
	squares(t, out, 5);
	field_mul(out, t, out);     /* 2^10 - 1 */
	squares(t, out, 10);
	field_mul(u, t, out);       /* 2^20 - 1 */
	squares(t, u, 20);
	field_mul(t, t, u);         /* 2^40 - 1 */
	squares(t, t, 10);
	field_mul(out, t, out);     /* 2^50 - 1 */
	squares(t, out, 50);
	field_mul(u, t, out);       /* 2^100 - 1 */
	squares(t, u, 100);
	field_mul(t, t, u);         /* 2^200 - 1 */
	squares(t, t, 50);
	field_mul(out, t, out);     /* 2^250 - 1 */
}

void field_invert(field out, const field a)
{
	field t;
	field eleven;

	power(t, eleven, a);
	squares(t, t, 5);
	field_mul(out, t, eleven); /* 2^255 - 21 = p - 2 */
}

void field_root(field out, const field a)
{
	field t;
	field eleven;

	power(t, eleven, a);
	squares(t, t, 2);
	field_mul(out, t, a); /* 2^252 - 3 */
}

/* The one that is below p. */
static void reduce(field out, const field a)
{
	field_copy(out, a);
	for (unsigned i = 0; i < 2u; i++) {
		const uint32_t top = out[7] >> 31;

		out[7] &= 0x7FFFFFFFu;
		(void)add_small(out, 19u * top); /* 2^255 = p + 19 */
	}

	/* Below 2^255 now: p or more if 19 more reach it. */
	field more;

	field_copy(more, out);
	(void)add_small(more, 19u);
	if (more[7] >> 31 != 0u) {
		more[7] &= 0x7FFFFFFFu;
		field_copy(out, more);
	}
}

bool field_zero(const field a)
{
	field r;
	uint32_t any = 0;

	reduce(r, a);
	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		any |= r[i];
	}
	return any == 0u;
}

bool field_odd(const field a)
{
	field r;

	reduce(r, a);
	return (r[0] & 1u) != 0u;
}

void field_take(field out, const uint8_t bytes[32])
{
	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		out[i] = get32(bytes + 4u * i);
	}
	out[7] &= 0x7FFFFFFFu;
}

void field_put(uint8_t bytes[32], const field a)
{
	field r;

	reduce(r, a);
	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		put32(bytes + 4u * i, r[i]);
	}
}
