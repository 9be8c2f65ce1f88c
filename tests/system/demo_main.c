/* SPDX-License-Identifier: BSD-2-Clause */
/* The demo's kernel as a program of its own. */
#include "allocator/demo/demo.h"

int main(int argc, char **argv)
{
	return kms_demo_kernel_main(argc, argv);
}
