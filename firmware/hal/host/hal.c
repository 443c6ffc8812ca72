/* The host board's HAL. Its flash is NOR as strict as the strictest part: a word
 * that was written is refused until its page was erased. */
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "host.h"

struct host host;
unsigned host_serial_kept = 6;

void host_reset(void)
{
	memset(&host, 0, sizeof host);
	memset(host.flash, 0xFF, sizeof host.flash);
	memcpy(host.flash + BOARD_LOADER_INFO, &boot_info, sizeof boot_info);
}

void hal_init(void)
{
	hal_outputs(0);
}

uint32_t hal_now(void)
{
	return host.clock_runs ? host.now++ : host.now;
}

bool hal_serial_get(uint8_t *byte)
{
	return host.get != NULL && host.get(byte);
}

void hal_sleep(uint32_t ms)
{
	if (host.sleep != NULL) {
		host.sleep(ms);
	}
}

void hal_serial_put(const uint8_t *bytes, size_t n)
{
	if (host.put != NULL) {
		host.put(bytes, n);
	}
}

uint8_t hal_inputs(void)
{
	return host.inputs;
}

void hal_outputs(uint8_t bits)
{
	const bool changes = bits != host.outputs;

	host.outputs = bits;
	host.ever_high |= bits;
	if (changes && host.changed != NULL) {
		host.changed(bits);
	}
}

const uint8_t *hal_flash(uint32_t address)
{
	return host.flash + address;
}

/* Count an operation; false: it is the one that fails. */
static bool operate(enum host_operation what, uint32_t address, uint32_t word)
{
	if (host.operation != NULL) {
		host.operation(what, address, word);
	}
	host.operations++;
	return host.fails_at == 0u ||
	       (host.fails_on ? host.operations < host.fails_at : host.operations != host.fails_at);
}

bool hal_flash_erase(uint32_t page)
{
	if (page % BOARD_PAGE != 0u || page >= BOARD_FLASH_SIZE) {
		host.violations++;
		return false;
	}
	if (!operate(HOST_ERASE, page, 0)) {
		return false;
	}
	memset(host.flash + page, 0xFF, BOARD_PAGE);
	memset(host.written + page / 4u, 0, BOARD_PAGE / 4u);
	return true;
}

bool hal_flash_write(uint32_t address, const uint8_t *bytes, size_t n)
{
	if (address % 4u != 0u || n % 4u != 0u || n == 0u || address / BOARD_PAGE != (address + n - 1u) / BOARD_PAGE ||
	    address >= BOARD_FLASH_SIZE) {
		host.violations++;
		return false;
	}
	for (size_t i = 0; i < n; i += 4u) {
		const uint32_t at = address + (uint32_t)i;

		if (host.written[at / 4u] || get32(host.flash + at) != 0xFFFFFFFFu) {
			host.violations++;
			return false;
		}
		if (!operate(HOST_WRITE, at, get32(bytes + i))) {
			return false;
		}
		memcpy(host.flash + at, bytes + i, 4);
		host.written[at / 4u] = true;
	}
	return true;
}

void host_works(uint32_t us)
{
	host.unfed_us += us;
	if (host.unfed_us > host.longest_us) {
		host.longest_us = host.unfed_us;
	}
	if (host.fed != 0u && host.unfed_us > BOARD_WATCHDOG_MS * 1000u) {
		host.bitten = true;
	}
}

void hal_watchdog(void)
{
	host.fed++;
	host.unfed_us = 0;
}

_Noreturn void hal_restart(enum hal_start why)
{
	host.restart = why;
	longjmp(host.leave, HOST_RESTARTS);
}

enum hal_start hal_started(void)
{
	return host.started;
}

_Noreturn void hal_run(uint32_t vectors)
{
	host.run = vectors;
	longjmp(host.leave, HOST_RUNS);
}

void hal_serial_number(uint8_t out[8])
{
	static const uint8_t number[8] = { 0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7 }; /* the vectors' */

	memcpy(out, number, sizeof number);
}

uint16_t hal_stack_used(void)
{
	return host.stack_used;
}

uint16_t hal_stack_size(void)
{
	return 1024;
}
