#include "hash.h"

#include <string.h>

#include "tinyssh/cleanup.h"

#define BLOCK 64u

/* FIPS 180-4. A start is half a digest, and the library's passes its state from word to
 * word: this is three times as fast on a Cortex-M0. */
static const uint32_t rounds[64] = {
	0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u,
	0x923f82a4u, 0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u,
	0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u,
	0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
	0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u,
	0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u,
	0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
	0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
	0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au,
	0x5b9cca4fu, 0x682e6ff3u, 0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u,
	0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static inline uint32_t turn(uint32_t x, unsigned n)
{
	return x >> n | x << (32u - n);
}

/* Eight rounds leave each word of the state where it was. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                      \
	do {                                                                                                  \
		const uint32_t t = (h) + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((((f) ^ (g)) & (e)) ^ (g)) + k[i] + w[i]; \
		(d) += t;                                                                                     \
		(h) = t + (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (((a) & (b)) | (((a) | (b)) & (c)));     \
	} while (0)

/* The schedule and s are scratch: who calls forgets them once, and not at every block. */
static void compress(uint32_t state[8], uint32_t schedule[64], uint32_t s[8], const uint8_t block[BLOCK])
{
	for (unsigned i = 0; i < 16u; i++) {
		const uint8_t *p = block + 4u * i;

		schedule[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	}
	for (unsigned i = 16; i < 64u; i++) {
		const uint32_t x = schedule[i - 15u];
		const uint32_t y = schedule[i - 2u];

		schedule[i] = schedule[i - 16u] + schedule[i - 7u] + (turn(x, 7) ^ turn(x, 18) ^ x >> 3) +
		              (turn(y, 17) ^ turn(y, 19) ^ y >> 10);
	}
	memcpy(s, state, 8u * sizeof s[0]);
	for (unsigned i = 0; i < 64u; i += 8u) {
		const uint32_t *k = rounds + i;
		const uint32_t *w = schedule + i;

		ROUND(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], 0);
		ROUND(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], 1);
		ROUND(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], 2);
		ROUND(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], 3);
		ROUND(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], 4);
		ROUND(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], 5);
		ROUND(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], 6);
		ROUND(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], 7);
	}
	for (unsigned i = 0; i < 8u; i++) {
		state[i] += s[i];
	}
}

void hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n)
{
	uint32_t state[8] = { 0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
		              0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u };
	uint32_t schedule[64];
	uint32_t scratch[8];
	uint8_t last[2u * BLOCK] = { 0 };
	const size_t rest = n % BLOCK;
	const size_t size = rest < BLOCK - 8u ? BLOCK : 2u * BLOCK;
	const uint64_t bits = (uint64_t)n * 8u;

	for (size_t i = 0; i + BLOCK <= n; i += BLOCK) {
		compress(state, schedule, scratch, bytes + i);
	}
	memcpy(last, bytes + (n - rest), rest);
	last[rest] = 0x80;
	for (unsigned i = 0; i < 64u; i += 8u) {
		last[size - 1u - i / 8u] = (uint8_t)(bits >> i);
	}
	for (size_t i = 0; i < size; i += BLOCK) {
		compress(state, schedule, scratch, last + i);
	}
	for (unsigned i = 0; i < HASH_SIZE; i++) {
		out[i] = (uint8_t)(state[i / 4u] >> (24u - 8u * (i % 4u)));
	}
	forget(schedule, sizeof schedule);
	forget(scratch, sizeof scratch);
	forget(last, sizeof last);
	forget(state, sizeof state);
}

void hmac(uint8_t out[HASH_SIZE], const uint8_t key[32], const uint8_t *message, size_t n)
{
	uint8_t text[BLOCK + HMAC_MESSAGE_MAX];

	memset(text, 0x36, BLOCK);
	for (size_t i = 0; i < 32u; i++) {
		text[i] ^= key[i];
	}
	memcpy(text + BLOCK, message, n);
	hash(out, text, BLOCK + n);

	memset(text, 0x5C, BLOCK);
	for (size_t i = 0; i < 32u; i++) {
		text[i] ^= key[i];
	}
	memcpy(text + BLOCK, out, HASH_SIZE);
	hash(out, text, BLOCK + HASH_SIZE);
	forget(text, sizeof text);
}

uint32_t crc32(const uint8_t *bytes, size_t n)
{
	/* By half bytes: 64 bytes of table instead of 1024. */
	static const uint32_t table[16] = {
		0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
		0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
		0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
	};
	uint32_t crc = 0xFFFFFFFFu;

	for (size_t i = 0; i < n; i++) {
		crc ^= bytes[i];
		crc = (crc >> 4) ^ table[crc & 15u];
		crc = (crc >> 4) ^ table[crc & 15u];
	}
	return ~crc;
}

void forget(void *secret, size_t n)
{
	cleanup_(secret, (long long)n);
}
