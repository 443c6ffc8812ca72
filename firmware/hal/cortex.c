#include "cortex.h"

#include <string.h>

#include "slot.h"

/* From the linker script. The stack lies below everything else: one that grows
 * too far leaves the RAM and faults, instead of eating data. */
extern uint32_t stack_start[], stack_end[], data_start[], data_end[], data_load[], bss_start[], bss_end[];

#define PAINT 0x5AFEC0DEu

/* At BOARD_KEPT, not touched at a start: what the program before left. */
struct kept {
	uint32_t why;       /* enum hal_start, for the next loader */
	uint32_t not_why;   /* its complement: RAM is random after power-on */
	uint32_t started;   /* for the application */
	uint32_t not_started;
};
#define KEPT ((volatile struct kept *)BOARD_KEPT)

static enum hal_start started;

void cortex_started(enum hal_start chip)
{
#ifdef LOADER
	const uint32_t why = KEPT->why;

	started = why == ~KEPT->not_why && why <= (uint32_t)HAL_START_LOADER ? (enum hal_start)why : chip;
	KEPT->why = 0;
	KEPT->not_why = 0;
	KEPT->started = started;
	KEPT->not_started = ~(uint32_t)started;
#else
	const uint32_t from = KEPT->started;

	started = from == ~KEPT->not_started && from <= (uint32_t)HAL_START_LOADER ? (enum hal_start)from : chip;
#endif
}

#define NVIC_ISER REG(0xE000E100u)
#define NVIC_ICPR REG(0xE000E280u)

void cortex_wakes(uint32_t interrupts)
{
	__asm__ volatile("cpsid i" ::: "memory");
	NVIC_ISER = interrupts;
}

void cortex_clear_wakes(void)
{
	NVIC_ICPR = 0xFFFFFFFFu;
}

enum hal_start hal_started(void)
{
	return started;
}

_Noreturn void hal_restart(enum hal_start why)
{
	KEPT->why = (uint32_t)why;
	KEPT->not_why = ~(uint32_t)why;
	__asm__ volatile("dsb" ::: "memory");
	if (why != HAL_START_FAULT) {
		cortex_sent(); /* after a fault the outputs fall first, and nothing can be relied on */
	}
	cortex_reset();
}

const uint8_t *hal_flash(uint32_t address)
{
	return (const uint8_t *)address;
}

uint16_t hal_stack_size(void)
{
	return (uint16_t)((stack_end - stack_start) * 4);
}

uint16_t hal_stack_used(void)
{
	const uint32_t *p = stack_start;

	while (p < stack_end && *p == PAINT) {
		p++;
	}
	return (uint16_t)((stack_end - p) * 4);
}

#ifdef LOADER
#include "boot.h"
#define MAIN() boot()
#else
#include "guard.h"
#define MAIN() guard_main(RUNNING)
#endif

/* Set memory up, by hand: nothing of the C library may run before. */
_Noreturn void reset(void); /* the entry of the linker script */

_Noreturn void reset(void)
{
	/* Paint what lies below this function's own frame. */
	uint32_t *here;

	__asm__ volatile("mov %0, sp" : "=r"(here));
	for (uint32_t *p = stack_start; p < here; p++) {
		*p = PAINT;
	}
	for (uint32_t *to = data_start, *from = data_load; to < data_end; to++, from++) {
		*to = *from;
	}
	for (uint32_t *p = bss_start; p < bss_end; p++) {
		*p = 0;
	}
	MAIN();
}

#ifdef LOADER

_Noreturn void hal_run(uint32_t vectors)
{
	const uint32_t sp = REG(vectors);
	const uint32_t pc = REG(vectors + 4u);

	cortex_sent(); /* the image sets the line up anew */
	__asm__ volatile("msr msp, %0\n\tbx %1" : : "r"(sp), "r"(pc) : "memory");
	__builtin_unreachable();
}

/* Every exception, of the application too: outputs fall with the reset. */
__attribute__((noreturn, used)) static void fault(void)
{
	hal_restart(HAL_START_FAULT);
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
	(vector)(uintptr_t)stack_end, reset, fault, fault, fault, fault, fault, fault,
	fault, fault, fault, fault, fault, fault, fault, fault,
};

#else

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const vector vectors[2] = { (vector)(uintptr_t)stack_end, reset };

_Noreturn void hal_run(uint32_t v)
{
	(void)v;
	hal_restart(HAL_START_RESTART); /* only the loader starts images */
}

#endif
