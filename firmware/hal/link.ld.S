/* One script for loader and application of every Cortex-M0 board, preprocessed with
 * the board's board.h, and ORIGIN_, LENGTH_, STACK_ from the Makefile. */
#include "board.h"

MEMORY
{
	FLASH (rx) : ORIGIN = ORIGIN_, LENGTH = LENGTH_
	RAM (rwx) : ORIGIN = BOARD_RAM, LENGTH = BOARD_RAM_BUDGET
}

ENTRY(reset)

SECTIONS
{
#ifdef LOADER
	.boot2 BOARD_FLASH : { KEEP(*(.boot2)) } > FLASH
	.vectors BOARD_VECTORS : { KEEP(*(.vectors)) } > FLASH
	.info BOARD_LOADER_INFO : { KEEP(*(.loader_info)) } > FLASH
#else
	.vectors : { KEEP(*(.vectors)) } > FLASH
#endif
	.text : { *(.text .text.*) *(.rodata .rodata.*) . = ALIGN(4); } > FLASH
	.stack (NOLOAD) : { stack_start = .; . += STACK_; stack_end = .; } > RAM
	.data : { data_start = .; *(.ramcode .ramcode.*) *(.data .data.*) . = ALIGN(4); data_end = .; } > RAM AT > FLASH
	data_load = LOADADDR(.data);
	.bss (NOLOAD) : { bss_start = .; *(.bss .bss.* COMMON) . = ALIGN(4); bss_end = .; } > RAM
	.padding : { . = ALIGN(4); } > FLASH
	/DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.comment) *(.ARM.attributes) }
}
