/* SPDX-License-Identifier: BSD-2-Clause */
/* A module of one function, built twice with different frames (FRAME_BYTES) and nothing else. */
__attribute__((visibility("default"))) void stack_module_call(void (*function)(void));

void stack_module_call(void (*function)(void))
{
	volatile char room[FRAME_BYTES];

	room[0] = 1;
	function();
	room[0] = 2;
}
