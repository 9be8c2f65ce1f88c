/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated kernel of `kmemscope demo`: a process of its own that lives on the calls of
 * kmem(9), pool_cache(9) and ddi_umem_alloc(9F).
 *
 * One emulated CPU runs a scheduler, five drivers, interrupts, soft interrupts and callouts. What
 * it does depends on the seed alone, never on time, so two runs with one seed make the same calls.
 */
#ifndef KMS_ALLOCATOR_DEMO_DEMO_H
#define KMS_ALLOCATOR_DEMO_DEMO_H

/**
 * Runs the kernel as told by @argv (argv[0] is skipped; --help lists the options).
 *
 * Shape:  argv has argc elements; nothing of it is kept
 * Locks:  starts threads and joins them; call it once in a process
 * Errors: exit status: 0, 1 no thread or no journal, 2 usage (said on stderr)
 */
int kms_demo_kernel_main(int argc, char **argv);

#endif
