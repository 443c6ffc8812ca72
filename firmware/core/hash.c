#include "hash.h"

#include <string.h>

#include "tinyssh/cleanup.h"
#include "tinyssh/crypto_hash_sha256.h"

#define BLOCK 64u

void hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n)
{
	(void)crypto_hash_sha256(out, bytes, n);
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
