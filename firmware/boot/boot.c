#include "boot.h"
#include "hal.h"

_Noreturn void boot(void)
{
	hal_init();
	hal_outputs(0);

	unsigned s = NO_SLOT;

	const enum hal_start why = hal_started();

	if (why != HAL_START_LOADER && (hal_inputs() & HAL_IN_SERVICE) == 0u) {
		s = boot_select(why == HAL_START_WATCHDOG || why == HAL_START_FAULT);
	}
	if (s == NO_SLOT) {
		s = recovery();
	}
	hal_run(slot_address((enum slot)s) + HEADER_SIZE);
}
