#include "boot.h"
#include "hal.h"
#include "limits.h"

/* Whether the service button is held: a glitch would keep the door out of service for
 * RECOVERY_MS. */
static bool held(void)
{
	const uint32_t from = hal_now();
	bool is = (hal_inputs() & HAL_IN_SERVICE) != 0u;

	while (is && hal_now() - from < DEBOUNCE_MS) {
		hal_sleep(1);
		is = (hal_inputs() & HAL_IN_SERVICE) != 0u;
	}
	return is;
}

_Noreturn void boot(void)
{
	hal_init();
	hal_outputs(0);

	unsigned s = NO_SLOT;

	const enum hal_start why = hal_started();

	if (why != HAL_START_LOADER && !held()) {
		s = boot_select(why == HAL_START_WATCHDOG || why == HAL_START_FAULT);
	}
	if (s == NO_SLOT) {
		s = recovery();
	}
	hal_run(slot_address((enum slot)s) + HEADER_SIZE);
}
