/* nRF51: registers of the nRF51 Series Reference Manual 3.0.1. */
#include "cortex.h"

/* Pins of the micro:bit: UART on the interface chip, the rest on the edge connector. */
#define PIN_TX 24u
#define PIN_RX 25u
#define PIN_LOCK 1u   /* edge connector 2 */
#define PIN_LAMP 2u   /* edge connector 1 */
#define PIN_BUZZER 3u /* edge connector 0 */
#define PIN_DOOR 4u
#define PIN_EXIT 5u
#define PIN_TAMPER 6u
#define PIN_SERVICE 7u

#define GPIO 0x50000000u
#define GPIO_OUT REG(GPIO + 0x504u)
#define GPIO_IN REG(GPIO + 0x510u)
#define GPIO_DIRSET REG(GPIO + 0x518u)
#define GPIO_CNF(n) REG(GPIO + 0x700u + 4u * (n))
#define CNF_PULL_DOWN (1u << 2)

#define UART 0x40002000u
#define UART_STARTRX REG(UART + 0x000u)
#define UART_STARTTX REG(UART + 0x008u)
#define UART_RXDRDY REG(UART + 0x108u)
#define UART_TXDRDY REG(UART + 0x11Cu)
#define UART_INTENSET REG(UART + 0x304u)
#define INT_RXDRDY (1u << 2)
#define UART_ENABLE REG(UART + 0x500u)
#define UART_PSELTXD REG(UART + 0x50Cu)
#define UART_PSELRXD REG(UART + 0x514u)
#define UART_RXD REG(UART + 0x518u)
#define UART_TXD REG(UART + 0x51Cu)
#define UART_BAUDRATE REG(UART + 0x524u)
#define BAUD_115200 0x01D7E000u

#define TIMER 0x40008000u
#define TIMER_START REG(TIMER + 0x000u)
#define TIMER_CAPTURE0 REG(TIMER + 0x040u)
#define TIMER_CAPTURE1 REG(TIMER + 0x044u)
#define TIMER_COMPARE1 REG(TIMER + 0x144u)
#define TIMER_INTENSET REG(TIMER + 0x304u)
#define INT_COMPARE1 (1u << 17)
#define TIMER_BITMODE REG(TIMER + 0x508u)
#define TIMER_PRESCALER REG(TIMER + 0x510u)
#define TIMER_CC0 REG(TIMER + 0x540u)
#define TIMER_CC1 REG(TIMER + 0x544u)
#define TIMER_MASK 0xFFFFFFu

/* Interrupts, by the identifiers of their peripherals. */
#define IRQ_UART (1u << 2)
#define IRQ_TIMER (1u << 8)

#define CLOCK_HFCLKSTART REG(0x40000000u)
#define CLOCK_HFCLKSTARTED REG(0x40000100u)
#define POWER_RESETREAS REG(0x40000400u)
#define RESETREAS_DOG 2u

#define WDT 0x40010000u
#define WDT_START REG(WDT + 0x000u)
#define WDT_CRV REG(WDT + 0x504u)
#define WDT_CONFIG REG(WDT + 0x50Cu)
#define WDT_RR0 REG(WDT + 0x600u)
#define WDT_RELOAD 0x6E524635u

#define NVMC_READY REG(0x4001E400u)
#define NVMC_CONFIG REG(0x4001E504u)
#define NVMC_ERASEPAGE REG(0x4001E508u)

#define FICR_DEVICEID(n) REG(0x10000060u + 4u * (n))

_Noreturn void cortex_reset(void)
{
	REG(0xE000ED0Cu) = 0x05FA0004u; /* AIRCR: SYSRESETREQ */
	for (;;) {
	}
}

void hal_init(void)
{
	GPIO_OUT = 0;
	GPIO_DIRSET = 1u << PIN_LOCK | 1u << PIN_LAMP | 1u << PIN_BUZZER | 1u << PIN_TX;

	/* Nothing is wired to the reference board: all inputs rest low. */
	GPIO_CNF(PIN_DOOR) = CNF_PULL_DOWN;
	GPIO_CNF(PIN_EXIT) = CNF_PULL_DOWN;
	GPIO_CNF(PIN_TAMPER) = CNF_PULL_DOWN;
	GPIO_CNF(PIN_SERVICE) = CNF_PULL_DOWN;

	CLOCK_HFCLKSTART = 1; /* the crystal: the RC oscillator is too far off for a UART */
	while (CLOCK_HFCLKSTARTED == 0u) {
	}
	TIMER_BITMODE = 2;   /* 24 bits: in 32, QEMU takes a compare value just passed for reached */
	TIMER_PRESCALER = 4; /* 16 MHz / 2^4 = 1 MHz */
	TIMER_START = 1;
	TIMER_INTENSET = INT_COMPARE1;

	UART_PSELTXD = PIN_TX;
	UART_PSELRXD = PIN_RX;
	UART_BAUDRATE = BAUD_115200;
	UART_ENABLE = 4;
	UART_STARTTX = 1;
	UART_STARTRX = 1;
	UART_INTENSET = INT_RXDRDY;
	cortex_wakes(IRQ_UART | IRQ_TIMER);

	cortex_started((POWER_RESETREAS & RESETREAS_DOG) != 0u ? HAL_START_WATCHDOG : HAL_START_POWER);
	POWER_RESETREAS = RESETREAS_DOG;
}

uint32_t hal_now(void)
{
	/* The timer's microseconds wrap after 16 s; the watchdog bites sooner than the
	 * program would not ask for so long. */
	static uint32_t last;
	static uint32_t rest;
	static uint32_t ms;

	TIMER_CAPTURE0 = 1;

	const uint32_t now = TIMER_CC0;
	const uint32_t us = rest + ((now - last) & TIMER_MASK);

	last = now;
	ms += us / 1000u;
	rest = us % 1000u;
	return ms;
}

bool hal_serial_get(uint8_t *byte)
{
	if (UART_RXDRDY == 0u) {
		return false;
	}
	UART_RXDRDY = 0;
	*byte = (uint8_t)UART_RXD;
	return true;
}

void hal_sleep(uint32_t ms)
{
	TIMER_CAPTURE1 = 1;
	TIMER_CC1 = (TIMER_CC1 + ms * 1000u) & TIMER_MASK;
	TIMER_COMPARE1 = 0;
	cortex_clear_wakes();
	if (UART_RXDRDY == 0u) {
		cortex_wait();
	}
}

void hal_serial_put(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		UART_TXDRDY = 0;
		UART_TXD = bytes[i];
		while (UART_TXDRDY == 0u) {
		}
	}
}

void cortex_sent(void)
{
	/* hal_serial_put has waited for each byte. */
}

uint8_t hal_inputs(void)
{
	const uint32_t in = GPIO_IN;

	return (uint8_t)(((in >> PIN_DOOR & 1u) != 0u ? HAL_IN_DOOR : 0u) | ((in >> PIN_EXIT & 1u) != 0u ? HAL_IN_EXIT : 0u) |
	                 ((in >> PIN_TAMPER & 1u) != 0u ? HAL_IN_TAMPER : 0u) |
	                 ((in >> PIN_SERVICE & 1u) != 0u ? HAL_IN_SERVICE : 0u));
}

void hal_outputs(uint8_t bits)
{
	/* One write: no output passes through a state that was not asked for. */
	GPIO_OUT = ((bits & HAL_OUT_LOCK) != 0u ? 1u << PIN_LOCK : 0u) | ((bits & HAL_OUT_LAMP) != 0u ? 1u << PIN_LAMP : 0u) |
	           ((bits & HAL_OUT_BUZZER) != 0u ? 1u << PIN_BUZZER : 0u) | 1u << PIN_TX;
}

static void nvmc(uint32_t mode)
{
	NVMC_CONFIG = mode;
	while (NVMC_READY == 0u) {
	}
}

bool hal_flash_erase(uint32_t page)
{
	const uint32_t *p = (const uint32_t *)page;

	nvmc(2);
	NVMC_ERASEPAGE = page;
	nvmc(0);
	for (unsigned i = 0; i < BOARD_PAGE / 4u; i++) {
		if (p[i] != 0xFFFFFFFFu) {
			return false;
		}
	}
	return true;
}

/* A function of its own, so that a debugger can stop at every word. */
__attribute__((noinline)) static void write_word(uint32_t address, uint32_t word)
{
	REG(address) = word;
	while (NVMC_READY == 0u) {
	}
}

bool hal_flash_write(uint32_t address, const uint8_t *bytes, size_t n)
{
	bool ok = true;

	nvmc(1);
	for (size_t i = 0; i < n; i += 4u) {
		const uint32_t word = (uint32_t)bytes[i] | (uint32_t)bytes[i + 1u] << 8 | (uint32_t)bytes[i + 2u] << 16 |
		                      (uint32_t)bytes[i + 3u] << 24;

		write_word(address + i, word);
		ok = ok && REG(address + i) == word;
	}
	nvmc(0);
	return ok;
}

void hal_watchdog(void)
{
	static bool running;

	if (!running) {
		running = true;
		WDT_CONFIG = 1; /* also while the processor sleeps, not under a debugger */
		WDT_CRV = BOARD_WATCHDOG_MS * 32768u / 1000u;
		WDT_START = 1;
	}
	WDT_RR0 = WDT_RELOAD;
}

void hal_serial_number(uint8_t out[8])
{
	for (unsigned i = 0; i < 8u; i++) {
		out[i] = (uint8_t)(FICR_DEVICEID(i / 4u) >> (i % 4u * 8u));
	}
}
