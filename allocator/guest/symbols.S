/* SPDX-License-Identifier: BSD-2-Clause */
/* What the second link adds: the symbols of the first, as an ELF file. */
	.section .symbols, "a", @progbits
	.balign 16
	.incbin "symbols.elf"
	.section .note.GNU-stack, "", @progbits
