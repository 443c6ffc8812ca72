/* What the Cortex-M0 boards share: reset, the stack, starting and restarting. */
#ifndef CORTEX_H
#define CORTEX_H

#include <stdint.h>

#include "hal.h"

#define REG(address) (*(volatile uint32_t *)(address))

/* Find out why the board started; chip is what its own registers say. The loader
 * asks first and leaves the answer for the application. */
void cortex_started(enum hal_start chip);

/* Let these interrupts (bits of the NVIC) end a sleep. PRIMASK stays set: none is
 * ever taken. */
void cortex_wakes(uint32_t interrupts);

/* Forget interrupts that are pending. Behind it the board looks for its cause to be
 * awake, and then waits: what comes in between ends the wait at once. */
void cortex_clear_wakes(void);

static inline void cortex_wait(void)
{
	__asm__ volatile("dsb\n\twfi" ::: "memory");
}

/* The board's: wait until the last byte of hal_serial_put is on the wire, or until it would
 * have been. */
void cortex_sent(void);

/* The board's: reset the whole chip, pins too. */
_Noreturn void cortex_reset(void);

#endif
