/* Makes what the Pico's USB drive takes: uf2 OUT.uf2 (ADDRESS FILE)...
 *
 * A file for address 0x10000000 is a loader: the CRC-32 that the boot ROM checks is
 * put into the last four of its first 256 bytes, in the file too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define PIECE 256u
#define FAMILY 0xE48BFF56u /* RP2040 */
#define MOST (2u << 20)

static uint8_t flash[MOST];
static uint8_t used[MOST / PIECE];

/* The ROM's CRC-32: not reflected, not complemented (datasheet 2.8.1.3.1). */
static uint32_t rom_crc(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xFFFFFFFFu;

	for (size_t i = 0; i < n; i++) {
		crc ^= (uint32_t)p[i] << 24;
		for (int bit = 0; bit < 8; bit++) {
			crc = (crc & 0x80000000u) != 0u ? crc << 1 ^ 0x04C11DB7u : crc << 1;
		}
	}
	return crc;
}

static void fail(const char *path)
{
	perror(path);
	exit(1);
}

static void take(uint32_t address, const char *path)
{
	const uint32_t at = address - 0x10000000u;
	FILE *f = fopen(path, "r+b");

	if (f == NULL || at >= MOST) {
		fail(path);
	}

	const size_t n = fread(flash + at, 1, MOST - at, f);

	if (at == 0u) {
		put32(flash + 252, rom_crc(flash, 252));
		if (fseek(f, 252, SEEK_SET) != 0 || fwrite(flash + 252, 1, 4, f) != 4u) {
			fail(path);
		}
	}
	if (fclose(f) != 0) {
		fail(path);
	}
	for (size_t i = at / PIECE; i * PIECE < at + n; i++) {
		used[i] = 1;
	}
}

int main(int argc, char **argv)
{
	uint32_t blocks = 0;
	uint32_t number = 0;

	if (argc < 4 || argc % 2 != 0) {
		fprintf(stderr, "usage: uf2 OUT.uf2 (ADDRESS FILE)...\n");
		return 2;
	}
	memset(flash, 0xFF, sizeof flash);
	for (int i = 2; i < argc; i += 2) {
		take((uint32_t)strtoul(argv[i], NULL, 0), argv[i + 1]);
	}
	for (size_t i = 0; i < sizeof used; i++) {
		blocks += used[i];
	}

	FILE *out = fopen(argv[1], "wb");

	if (out == NULL) {
		fail(argv[1]);
	}
	for (size_t i = 0; i < sizeof used; i++) {
		uint8_t b[512] = { 0 };

		if (used[i] == 0u) {
			continue;
		}
		put32(b, 0x0A324655u);
		put32(b + 4, 0x9E5D5157u);
		put32(b + 8, 0x2000u); /* the family is named */
		put32(b + 12, 0x10000000u + (uint32_t)(i * PIECE));
		put32(b + 16, PIECE);
		put32(b + 20, number++);
		put32(b + 24, blocks);
		put32(b + 28, FAMILY);
		memcpy(b + 32, flash + i * PIECE, PIECE);
		put32(b + 508, 0x0AB16F30u);
		if (fwrite(b, 1, sizeof b, out) != sizeof b) {
			fail(argv[1]);
		}
	}
	if (fclose(out) != 0) {
		fail(argv[1]);
	}
	return 0;
}
