/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/console.h"

#include <stdarg.h>
#include <stdio.h>

#include "allocator/guest/cpu.h"
#include "allocator/guest/spin.h"

enum {
	COM1 = 0x3f8,
	UART_INTERRUPTS = 1,
	UART_FIFO = 2,
	UART_LINE = 3,
	UART_MODEM = 4,
	UART_STATUS = 5,
	UART_HAS_BYTE = 1,
	UART_CAN_SEND = 0x20,
	SEND_SPINS = 100000, /* without anybody at the other end we go on all the same */
	LINE_BYTES = 320,
	EXIT_PORT = 0xf4, /* isa-debug-exit, by convention */
	PM_PIIX4 = 0x604, /* PM1a control of pc since 2.0 and q35 */
	PM_OLD = 0xb004,
	PM_SLEEP = 0x2000,
};

static uint32_t console_lock;

void kms_console_init(void)
{
	kms_out8(COM1 + UART_INTERRUPTS, 0);
	kms_out8(COM1 + UART_LINE, 0x80);
	kms_out8(COM1, 1); /* 115200 */
	kms_out8(COM1 + UART_INTERRUPTS, 0);
	kms_out8(COM1 + UART_LINE, 3);
	kms_out8(COM1 + UART_FIFO, 7);
	kms_out8(COM1 + UART_MODEM, 3);
}

static void put(char c)
{
	for (int i = 0; i < SEND_SPINS && !(kms_in8(COM1 + UART_STATUS) & UART_CAN_SEND); i++)
		kms_cpu_pause();
	kms_out8(COM1, (uint8_t)c);
}

void kms_console_write(const char *text)
{
	uint64_t flags = kms_spin_lock(&console_lock);

	for (; *text; text++) {
		if (*text == '\n')
			put('\r');
		put(*text);
	}
	kms_spin_unlock(&console_lock, flags);
}

void kms_console_printf(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	kms_console_write(line);
}

int kms_console_read(void)
{
	if (!(kms_in8(COM1 + UART_STATUS) & UART_HAS_BYTE))
		return -1;
	return kms_in8(COM1);
}

_Noreturn void kms_guest_halt(void)
{
	kms_irq_off();
	for (;;)
		kms_cpu_halt();
}

_Noreturn void kms_guest_die(const char *text)
{
	kms_irq_off();
	console_lock = 0; /* whoever has it will not come to print any more */
	kms_console_write("panic: guest: ");
	kms_console_write(text);
	kms_console_write("\n");
	(void)kms_cpu_hold_others();
	for (;;)
		__asm__ volatile("cli; hlt");
}

_Noreturn void kms_guest_power_off(enum kms_guest_exit status)
{
	kms_out8(EXIT_PORT, (uint8_t)status);
	kms_out16(PM_PIIX4, PM_SLEEP);
	kms_out16(PM_OLD, PM_SLEEP);
	kms_console_write("halted: this machine has no way to be switched off\n");
	kms_guest_halt();
}
