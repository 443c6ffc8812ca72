/* Our verification against the library that signs too: the same numbers, the same
 * points, the same verdicts. */
#include "support.h"

#include <string.h>

#include "ed25519.h"
#include "field.h"
#include "tinyssh/crypto_hash_sha512.h"
#include "tinyssh/crypto_sign_ed25519.h"
#include "tinyssh/fe25519.h"
#include "tinyssh/ge25519.h"

static uint32_t state = 1;

static uint32_t number(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void bytes(uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = (uint8_t)number();
	}
}

/* Words of ones and zeros, and what lies beside p, 2p and 2^256: where carries are. */
static void draw(field out)
{
	static const uint32_t low[] = { 0, 1, 19, 37, 38, 39, 0xFFFFFFDAu, 0xFFFFFFDBu, 0xFFFFFFECu, 0xFFFFFFEDu, 0xFFFFFFEEu, 0xFFFFFFFFu };
	const uint32_t kind = number() % 4u;

	for (unsigned i = 0; i < FIELD_WORDS; i++) {
		switch (kind) {
		case 0:
			out[i] = 0xFFFFFFFFu;
			break;
		case 1:
			out[i] = number() % 2u != 0u ? 0xFFFFFFFFu : 0u;
			break;
		case 2:
			out[i] = number() % 3u != 0u ? number() : 0xFFFF0000u >> number() % 17u;
			break;
		default:
			out[i] = number();
			break;
		}
	}
	if (kind != 3u) {
		out[0] = low[number() % (sizeof low / sizeof low[0])];
		out[7] = number() % 2u != 0u ? 0x7FFFFFFFu : 0xFFFFFFFFu;
	}
}

/* The library takes numbers below p. */
static void library(fe out, const field a)
{
	uint8_t b[32];

	field_put(b, a);
	fe25519_frombytes(out, b);
}

static void assert_same(const field ours, const fe theirs)
{
	uint8_t a[32], b[32];

	field_put(a, ours);
	fe25519_tobytes(b, theirs);
	assert_memory_equal(a, b, 32);
}

static void test_arithmetic(void **s)
{
	(void)s;
	for (unsigned i = 0; i < 50000u; i++) {
		field a, b, r;
		fe x, y, z;

		draw(a);
		draw(b);
		library(x, a);
		library(y, b);
		field_add(r, a, b);
		fe25519_add(z, x, y);
		assert_same(r, z);
		field_sub(r, a, b);
		fe25519_sub(z, x, y);
		assert_same(r, z);
		field_mul(r, a, b);
		fe25519_mul(z, x, y);
		assert_same(r, z);
		field_square(r, a);
		fe25519_sq(z, x);
		assert_same(r, z);
		field_mul(a, a, a); /* in place */
		assert_same(a, z);
		if (i % 100u == 0u) {
			field_invert(r, b);
			fe25519_inv(z, y);
			assert_same(r, z);
			field_root(r, b);
			fe25519_pow22523(z, y);
			assert_same(r, z);
			assert_int_equal(field_zero(b), fe25519_isnonzero(y) == 0);
			assert_int_equal(field_odd(b), fe25519_isnegative(y) != 0);
		}
	}

	/* What is p, and what is 2p, is 0; p + 1 is 1. */
	field p = { 0xFFFFFFEDu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x7FFFFFFFu };

	assert_true(field_zero(p));
	assert_false(field_odd(p));
	p[0]++;
	assert_false(field_zero(p));
	assert_true(field_odd(p));
	p[0] = 0xFFFFFFDAu;
	p[7] = 0xFFFFFFFFu;
	assert_true(field_zero(p));
}

static bool theirs(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64])
{
	uint8_t sealed[64 + ED25519_MESSAGE_MAX], opened[64 + ED25519_MESSAGE_MAX];
	unsigned long long size = 0;

	memcpy(sealed, signature, 64);
	memcpy(sealed + 64, message, n);
	return crypto_sign_ed25519_open(opened, &size, sealed, 64u + n, key) == 0;
}

static void test_signatures(void **s)
{
	(void)s;
	for (unsigned i = 0; i < 300u; i++) {
		uint8_t secret[64], hash512[64], message[ED25519_MESSAGE_MAX], sealed[64 + ED25519_MESSAGE_MAX];
		const size_t n = number() % (ED25519_MESSAGE_MAX + 1u);
		unsigned long long size = 0;
		ge25519 public;

		bytes(secret, 32);
		bytes(message, sizeof message);
		crypto_hash_sha512(hash512, secret, 32);
		hash512[0] &= 248;
		hash512[31] &= 63;
		hash512[31] |= 64;
		ge25519_scalarmult_base(public, hash512);
		ge25519_tobytes(secret + 32, public);
		assert_int_equal(crypto_sign_ed25519(sealed, &size, message, n, secret), 0);
		assert_true(ed25519_point(secret + 32));
		assert_true(ed25519_verify(secret + 32, message, n, sealed));

		/* One bit of anything, and it is no signature. */
		for (unsigned k = 0; k < 3u; k++) {
			uint8_t *const of[3] = { secret + 32, sealed, message };
			const size_t sizes[3] = { 32, 64, n };
			const size_t bit = sizes[k] == 0u ? 0u : number() % (8u * sizes[k]);

			if (sizes[k] == 0u) {
				continue;
			}
			of[k][bit / 8u] ^= (uint8_t)(1u << bit % 8u);
			assert_false(ed25519_verify(secret + 32, message, n, sealed));
			assert_false(theirs(secret + 32, message, n, sealed));
			of[k][bit / 8u] ^= (uint8_t)(1u << bit % 8u);
		}
	}
}

/* For the key 0, 1 (the neutral point, which key_ok refuses) R is S times the base, so
 * scalars can be chosen: carries through all of their digits. */
static void test_scalars(void **s)
{
	static const uint8_t order[32] = { 0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7,
		                           0xA2, 0xDE, 0xF9, 0xDE, 0x14, [31] = 0x10 };
	const uint8_t neutral[32] = { 1 };

	(void)s;
	for (unsigned i = 0; i < 200u; i++) {
		uint8_t signature[64];
		uint8_t *const scalar = signature + 32;
		ge25519 r;

		memcpy(scalar, order, 32);
		if (i < 40u) {
			scalar[0] = (uint8_t)(scalar[0] - 1u - i);
		} else if (i < 80u) {
			memset(scalar, 0, 32);
			scalar[0] = (uint8_t)(i - 40u);
		} else if (i < 120u) {
			memset(scalar, i % 2u != 0u ? 0xFF : 0xF0, 32);
			scalar[number() % 31u] = (uint8_t)number();
			scalar[31] = 0x0F;
		} else {
			for (unsigned k = 0; k < 31u; k++) {
				scalar[k] = number() % 2u != 0u ? 0xFF : 0;
			}
			scalar[31] = 0x0F;
		}
		ge25519_scalarmult_base(r, scalar);
		ge25519_tobytes(signature, r);
		assert_true(ed25519_verify(neutral, scalar, 4, signature));
		signature[0] ^= 1u;
		assert_false(ed25519_verify(neutral, scalar, 4, signature));
	}
}

static void test_points(void **s)
{
	unsigned points = 0;

	(void)s;
	for (unsigned i = 0; i < 400u; i++) {
		uint8_t key[32];
		uint8_t signature[64] = { 0 };
		ge25519 p;

		bytes(key, 32);

		const bool is = ge25519_frombytes_negate_vartime(p, key) == 0;

		assert_int_equal(ed25519_point(key), is);
		points += is ? 1u : 0u;
		if (!is) {
			assert_false(ed25519_verify(key, key, 8, signature));
		}
	}
	assert_in_range(points, 150, 250); /* half of all numbers are the y of a point */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
