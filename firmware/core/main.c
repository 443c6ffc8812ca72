#include "guard.h"
#include "hal.h"

/* The application: the slot it was linked for, and the loop. */
_Noreturn void guard_main(enum slot running)
{
	static struct guard guard;

	hal_init();
	guard_start(&guard, running);
	for (;;) {
		guard_turn(&guard);
	}
}
