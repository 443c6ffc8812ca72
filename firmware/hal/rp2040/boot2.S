/* The second stage: the boot ROM copies 256 bytes of it to RAM, checks their CRC-32
 * (which uf2.c puts into the last four) and jumps to it. It sets the flash
 * interface up for execution in place with the read command that every serial
 * flash has (03h, one bit wide, 31 MHz at 125), and starts the loader.
 * Registers: RP2040 datasheet 4.10.13. */
	.syntax unified
	.cpu cortex-m0plus
	.thumb
	.section .boot2, "ax"
	.global boot2
	.thumb_func
boot2:
	ldr r3, =0x18000000 /* XIP_SSI_BASE */
	movs r1, #0
	str r1, [r3, #0x08] /* SSIENR: off while it is set up */
	movs r1, #4
	str r1, [r3, #0x14] /* BAUDR: divide by 4 */
	ldr r1, =0x001F0300 /* CTRLR0: 32 bits a frame, EEPROM read */
	str r1, [r3, #0x00]
	ldr r1, =0x03000218 /* SPI_CTRLR0: command 03h of 8 bits, 24 address bits */
	ldr r2, =0x180000F4
	str r1, [r2]
	movs r1, #0
	str r1, [r3, #0x04] /* CTRLR1: one frame */
	movs r1, #1
	str r1, [r3, #0x08] /* SSIENR: on */

	ldr r0, =0x10000100 /* the loader's vectors */
	ldr r1, =0xE000ED08 /* VTOR */
	str r0, [r1]
	ldmia r0!, {r1, r2}
	msr msp, r1
	bx r2
	.ltorg
	.space 252 - (. - boot2), 0
	.word 0 /* CRC-32 */
