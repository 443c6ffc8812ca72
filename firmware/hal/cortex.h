/* What the Cortex-M0 boards share: reset, the stack, starting and restarting. */
#ifndef CORTEX_H
#define CORTEX_H

#include <stdint.h>

#include "hal.h"

#define REG(address) (*(volatile uint32_t *)(address))

/* Find out why the board started; chip is what its own registers say. The loader
 * asks first and leaves the answer for the application. */
void cortex_started(enum hal_start chip);

/* The board's: reset the whole chip, pins too. */
_Noreturn void cortex_reset(void);

#endif
