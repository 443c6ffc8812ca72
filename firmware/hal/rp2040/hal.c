/* RP2040: registers of the RP2040 datasheet. Flash is behind the processor's own
 * code: while it is erased or written, nothing may run from it. */
#include <string.h>

#include "cortex.h"

/* Pins of the Pico (GP numbers). Inputs have pull-ups: a button pulls down; door
 * contact and tamper switch are closed at rest, so a cut wire reads as open. */
#define PIN_TX 0u
#define PIN_RX 1u
#define PIN_LOCK 2u
#define PIN_LAMP 25u /* on the board */
#define PIN_BUZZER 3u
#define PIN_DOOR 4u
#define PIN_EXIT 5u
#define PIN_TAMPER 6u
#define PIN_SERVICE 7u

#define RESETS 0x4000C000u
#define RESETS_RESET REG(RESETS + 0x0u)
#define RESETS_DONE REG(RESETS + 0x8u)
#define R_DMA (1u << 2)
#define R_IO_BANK0 (1u << 5)
#define R_PADS_BANK0 (1u << 8)
#define R_PLL_SYS (1u << 12)
#define R_TIMER (1u << 21)
#define R_UART0 (1u << 22)

#define XOSC_CTRL REG(0x40024000u)
#define XOSC_STATUS REG(0x40024004u)
#define XOSC_STARTUP REG(0x4002400Cu)

#define PLL 0x40028000u
#define PLL_CS REG(PLL + 0x0u)
#define PLL_PWR REG(PLL + 0x4u)
#define PLL_FBDIV REG(PLL + 0x8u)
#define PLL_PRIM REG(PLL + 0xCu)

#define CLOCKS 0x40008000u
#define CLK_REF_CTRL REG(CLOCKS + 0x30u)
#define CLK_REF_SELECTED REG(CLOCKS + 0x38u)
#define CLK_SYS_CTRL REG(CLOCKS + 0x3Cu)
#define CLK_SYS_SELECTED REG(CLOCKS + 0x44u)
#define CLK_PERI_CTRL REG(CLOCKS + 0x48u)
#define HZ 125000000u

#define IO_CTRL(n) REG(0x40014004u + 8u * (n))
#define PAD(n) REG(0x4001C004u + 4u * (n))
#define PAD_IN_PULL_UP 0x4Au    /* input enable, pull-up, Schmitt trigger: wires of the field */
#define PAD_OUT_PULL_DOWN 0x54u /* input enable, pull-down, 4 mA */
#define FUNCTION_UART 2u
#define FUNCTION_SIO 5u

#define SIO_IN REG(0xD0000004u)
#define SIO_OUT REG(0xD0000010u)
#define SIO_OE REG(0xD0000020u)

#define UART 0x40034000u
#define UART_DR REG(UART + 0x00u)
#define UART_FR REG(UART + 0x18u)
#define UART_IBRD REG(UART + 0x24u)
#define UART_FBRD REG(UART + 0x28u)
#define UART_LCR REG(UART + 0x2Cu)
#define UART_CR REG(UART + 0x30u)
#define UART_DMACR REG(UART + 0x48u)
#define FR_BUSY (1u << 3) /* until the last stop bit */
#define FR_TX_FULL (1u << 5)
#define TX_FIFO 32u
#define BAUD 115200u

/* Channel 0 carries what comes from the UART to the ring, also while the processor waits
 * for the flash. */
#define DMA 0x50000000u
#define DMA_READ REG(DMA + 0x00u)
#define DMA_WRITE REG(DMA + 0x04u)
#define DMA_COUNT REG(DMA + 0x08u)
#define DMA_CTRL_TRIG REG(DMA + 0x0Cu)
#define DMA_ON 1u                              /* of bytes, and it chains to itself: to none */
#define DMA_INCR_WRITE (1u << 5)
#define DMA_RING ((uint32_t)BOARD_RING_BITS << 6 | 1u << 10) /* of the write address */
#define DMA_BY_UART0_RX (21u << 15)
#define DMA_BUSY (1u << 24)
#define RING_MASK ((1u << BOARD_RING_BITS) - 1u)

#define TIMER 0x40054000u
#define TIMER_ALARM0 REG(TIMER + 0x10u)
#define TIMER_LOW REG(TIMER + 0x28u)
#define TIMER_INTR REG(TIMER + 0x34u)
#define TIMER_INTE REG(TIMER + 0x38u)

/* Interrupts by their numbers (datasheet 2.3.2). */
#define IRQ_TIMER0 (1u << 0)

#define WATCHDOG 0x40058000u
#define WATCHDOG_CTRL REG(WATCHDOG + 0x00u)
#define WATCHDOG_LOAD REG(WATCHDOG + 0x04u)
#define WATCHDOG_REASON REG(WATCHDOG + 0x08u)
#define WATCHDOG_TICK REG(WATCHDOG + 0x2Cu)
#define WATCHDOG_ENABLE (1u << 30)
#define PSM_WDSEL REG(0x40010008u)
#define PSM_ALL_BUT_CLOCKS 0x0001FFFCu
#define WATCHDOG_TRIGGER (1u << 31)

_Noreturn void cortex_reset(void)
{
	/* By the watchdog: SYSRESETREQ would leave pins and peripherals as they are. */
	PSM_WDSEL = PSM_ALL_BUT_CLOCKS;
	WATCHDOG_CTRL |= WATCHDOG_TRIGGER;
	for (;;) {
	}
}

#ifdef LOADER
/* The application finds the clocks as the loader set them. */
static void clocks(void)
{
	XOSC_STARTUP = 47; /* 1 ms at 12 MHz, in units of 256 */
	XOSC_CTRL = 0x00FABAA0u;
	while ((XOSC_STATUS & 1u << 31) == 0u) {
	}
	CLK_SYS_CTRL &= ~1u; /* off the PLL, should it run */
	while (CLK_SYS_SELECTED != 1u) {
	}
	CLK_REF_CTRL = 2; /* the crystal */
	while (CLK_REF_SELECTED != 1u << 2) {
	}
	RESETS_RESET |= R_PLL_SYS;
	RESETS_RESET &= ~R_PLL_SYS;
	while ((RESETS_DONE & R_PLL_SYS) == 0u) {
	}
	PLL_CS = 1;
	PLL_FBDIV = 125; /* 12 MHz * 125 = 1500 MHz */
	PLL_PWR &= ~(1u | 1u << 5);
	while ((PLL_CS & 1u << 31) == 0u) {
	}
	PLL_PRIM = 6u << 16 | 2u << 12; /* / 6 / 2 = 125 MHz */
	PLL_PWR &= ~(1u << 3);
	CLK_SYS_CTRL = 0; /* auxiliary: PLL_SYS */
	CLK_SYS_CTRL |= 1u;
	while (CLK_SYS_SELECTED != 1u << 1) {
	}
	CLK_PERI_CTRL = 1u << 11; /* on, from clk_sys */
	WATCHDOG_TICK = 12u | 1u << 9; /* 1 us, for timer and watchdog */
}
#endif

static uint32_t taken; /* of the ring, where the next byte is */

static void listen(void)
{
	DMA_READ = UART; /* its data register */
	DMA_WRITE = BOARD_RING + taken;
	DMA_COUNT = 0xFFFFFFFFu;
	DMA_CTRL_TRIG = DMA_ON | DMA_INCR_WRITE | DMA_RING | DMA_BY_UART0_RX;
}

void hal_init(void)
{
#ifdef LOADER
	WATCHDOG_CTRL = 0;
	clocks();
#endif
	const uint32_t blocks = R_DMA | R_IO_BANK0 | R_PADS_BANK0 | R_TIMER | R_UART0;

#ifndef LOADER
	UART_DMACR = 0; /* no request of the loader's is left when its channel goes */
#endif
	RESETS_RESET |= R_DMA; /* the loader's stops */
	RESETS_RESET &= ~blocks;
	while ((RESETS_DONE & blocks) != blocks) {
	}
	SIO_OUT = 0;
	SIO_OE = 1u << PIN_LOCK | 1u << PIN_LAMP | 1u << PIN_BUZZER;
	PAD(PIN_LOCK) = PAD_OUT_PULL_DOWN;
	PAD(PIN_LAMP) = PAD_OUT_PULL_DOWN;
	PAD(PIN_BUZZER) = PAD_OUT_PULL_DOWN;
	IO_CTRL(PIN_LOCK) = FUNCTION_SIO;
	IO_CTRL(PIN_LAMP) = FUNCTION_SIO;
	IO_CTRL(PIN_BUZZER) = FUNCTION_SIO;
	for (uint32_t pin = PIN_DOOR; pin <= PIN_SERVICE; pin++) {
		PAD(pin) = PAD_IN_PULL_UP;
		IO_CTRL(pin) = FUNCTION_SIO;
	}
	PAD(PIN_RX) = PAD_IN_PULL_UP;
	IO_CTRL(PIN_TX) = FUNCTION_UART;
	IO_CTRL(PIN_RX) = FUNCTION_UART;
	UART_IBRD = HZ / (16u * BAUD);
	UART_FBRD = (HZ * 4u / BAUD) % 64u;
	UART_LCR = 3u << 5 | 1u << 4;       /* 8 bits, FIFO */
	UART_CR = 1u | 1u << 8 | 1u << 9; /* on, both ways */
	UART_DMACR = 1; /* asks for each byte that has come */
	listen();
	TIMER_INTE = 1;
	cortex_wakes(IRQ_TIMER0);

	cortex_started((WATCHDOG_REASON & 1u) != 0u ? HAL_START_WATCHDOG : HAL_START_POWER);
}

uint32_t hal_now(void)
{
	/* The low word wraps after 71 minutes; the program asks far more often. */
	static uint32_t last;
	static uint32_t rest;
	static uint32_t ms;
	const uint32_t now = TIMER_LOW;
	const uint32_t us = rest + (now - last);

	last = now;
	ms += us / 1000u;
	rest = us % 1000u;
	return ms;
}

bool hal_serial_get(uint8_t *byte)
{
	if ((DMA_WRITE & RING_MASK) == taken) {
		if ((DMA_CTRL_TRIG & DMA_BUSY) == 0u) {
			listen(); /* 4 GiB have come */
		}
		return false;
	}
	*byte = *(const volatile uint8_t *)(BOARD_RING + taken);
	taken = (taken + 1u) & RING_MASK;
	return true;
}

void hal_sleep(uint32_t ms)
{
	(void)ms; /* nothing wakes at a byte that DMA takes: a millisecond at a time */
	TIMER_INTR = 1;
	TIMER_ALARM0 = TIMER_LOW + 1000u;
	cortex_clear_wakes();
	if ((DMA_WRITE & RING_MASK) == taken) {
		cortex_wait();
	}
}

void hal_serial_put(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		while ((UART_FR & FR_TX_FULL) != 0u) {
		}
		UART_DR = bytes[i];
	}
}

void cortex_sent(void)
{
	const uint32_t start = TIMER_LOW;

	while ((UART_FR & FR_BUSY) != 0u && TIMER_LOW - start < (TX_FIFO + 1u) * 10u * 1000000u / BAUD + 1000u) {
	}
}

uint8_t hal_inputs(void)
{
	const uint32_t in = SIO_IN;

	return (uint8_t)(((in >> PIN_DOOR & 1u) != 0u ? HAL_IN_DOOR : 0u) |
	                 ((in >> PIN_EXIT & 1u) == 0u ? HAL_IN_EXIT : 0u) |
	                 ((in >> PIN_TAMPER & 1u) != 0u ? HAL_IN_TAMPER : 0u) |
	                 ((in >> PIN_SERVICE & 1u) == 0u ? HAL_IN_SERVICE : 0u));
}

void hal_outputs(uint8_t bits)
{
	SIO_OUT = ((bits & HAL_OUT_LOCK) != 0u ? 1u << PIN_LOCK : 0u) | ((bits & HAL_OUT_LAMP) != 0u ? 1u << PIN_LAMP : 0u) |
	          ((bits & HAL_OUT_BUZZER) != 0u ? 1u << PIN_BUZZER : 0u);
}

/* --- flash, through the boot ROM ---------------------------------------------- */

/* A function of the ROM by its two letters (datasheet 2.8.3). */
static void *rom(char a, char b)
{
	typedef void *(*lookup)(uint16_t *table, uint32_t code);
	uintptr_t start = 0;

	__asm__("" : "+r"(start)); /* the ROM is at 0, which the compiler takes for nothing */

	const volatile uint16_t *const low = (const volatile uint16_t *)start;
	const lookup find = (lookup)(uintptr_t)low[0x18 / 2];
	uint16_t *const functions = (uint16_t *)(uintptr_t)low[0x14 / 2];

	return find(functions, (uint32_t)(uint8_t)a | (uint32_t)(uint8_t)b << 8);
}

struct flash_calls {
	void (*connect)(void);
	void (*exit_xip)(void);
	void (*erase)(uint32_t at, uint32_t n, uint32_t block, uint8_t command);
	void (*program)(uint32_t at, const uint8_t *bytes, uint32_t n);
	void (*flush)(void);
	void (*enter_xip)(void);
};

static struct flash_calls calls(void)
{
	const struct flash_calls c = {
		.connect = (void (*)(void))rom('I', 'F'),
		.exit_xip = (void (*)(void))rom('E', 'X'),
		.erase = (void (*)(uint32_t, uint32_t, uint32_t, uint8_t))rom('R', 'E'),
		.program = (void (*)(uint32_t, const uint8_t *, uint32_t))rom('R', 'P'),
		.flush = (void (*)(void))rom('F', 'C'),
		.enter_xip = (void (*)(void))rom('C', 'X'),
	};

	return c;
}

#define FLASH_PAGE 256u /* what one program command takes */

/* In RAM: erase the sector at an offset when bytes is NULL, else program a page. The
 * ROM leaves the read command 03h behind, which is the one boot2.S sets up. */
__attribute__((section(".ramcode"), noinline, long_call)) static void operate(const struct flash_calls *c, uint32_t at,
                                                                             const uint8_t *bytes)
{
	c->connect();
	c->exit_xip();
	if (bytes == NULL) {
		c->erase(at, BOARD_PAGE, 1u << 16, 0xD8);
	} else {
		c->program(at, bytes, FLASH_PAGE);
	}
	c->flush();
	c->enter_xip();
}

bool hal_flash_erase(uint32_t page)
{
	const struct flash_calls c = calls();
	const uint32_t *p = (const uint32_t *)page;

	operate(&c, page - BOARD_FLASH, NULL);
	for (unsigned i = 0; i < BOARD_PAGE / 4u; i++) {
		if (p[i] != 0xFFFFFFFFu) {
			return false;
		}
	}
	return true;
}

bool hal_flash_write(uint32_t address, const uint8_t *bytes, size_t n)
{
	const struct flash_calls c = calls();
	uint8_t page[FLASH_PAGE];

	/* Around the bytes ones are programmed, which change nothing in NOR. */
	for (size_t done = 0; done < n;) {
		const uint32_t at = address + (uint32_t)done;
		const uint32_t into = at % FLASH_PAGE;
		const size_t room = FLASH_PAGE - into;
		const size_t piece = n - done < room ? n - done : room;

		memset(page, 0xFF, sizeof page);
		memcpy(page + into, bytes + done, piece);
		operate(&c, at - into - BOARD_FLASH, page);
		done += piece;
	}
	return memcmp(hal_flash(address), bytes, n) == 0;
}

/* --- watchdog, serial number ---------------------------------------------------- */

void hal_watchdog(void)
{
	static bool running;

	WATCHDOG_LOAD = BOARD_WATCHDOG_MS * 1000u * 2u; /* it counts down twice a tick (erratum E1) */
	if (!running) {
		running = true;
		PSM_WDSEL = PSM_ALL_BUT_CLOCKS;
		WATCHDOG_CTRL |= WATCHDOG_ENABLE;
	}
}

#define SSI 0x18000000u
#define QSPI_SS_CTRL REG(0x4001800Cu) /* IO_QSPI: chip select by hand */

/* In RAM: the flash chip's own number, command 4Bh: 4 dummy bytes, then 8. */
__attribute__((section(".ramcode"), noinline, long_call)) static void chip_number(const struct flash_calls *c,
                                                                                 uint8_t out[8])
{
	c->connect();
	c->exit_xip();
	QSPI_SS_CTRL = (QSPI_SS_CTRL & ~(3u << 8)) | 2u << 8; /* low */
	for (uint32_t i = 0; i < 13u; i++) {
		REG(SSI + 0x60u) = i == 0u ? 0x4Bu : 0u;
		while ((REG(SSI + 0x28u) & 1u << 3) == 0u) { /* SR: receive FIFO not empty */
		}

		const uint32_t got = REG(SSI + 0x60u);

		if (i >= 5u) {
			out[i - 5u] = (uint8_t)got;
		}
	}
	QSPI_SS_CTRL = (QSPI_SS_CTRL & ~(3u << 8)) | 3u << 8; /* high */
	c->flush();
	c->enter_xip();
}

void hal_serial_number(uint8_t out[8])
{
	static uint8_t number[8];
	static bool known;

	if (!known) {
		const struct flash_calls c = calls();

		chip_number(&c, number);
		known = true;
	}
	memcpy(out, number, sizeof number);
}
