/* SPDX-License-Identifier: BSD-2-Clause */
/* A driver with a struct pool of its own, as some have: it is not the kernel's. */
struct pool {
	unsigned pr_size, pr_npages;
	char pr_wchan[8];
};

struct pool driver_pool = {24, 3, "driver"};
