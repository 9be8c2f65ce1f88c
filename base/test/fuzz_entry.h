/*
 * What a fuzz harness defines. libFuzzer calls it with inputs of its own making; in the other builds
 * fuzz_replay_main.c calls it with the files of the corpus.
 */
#ifndef KMS_BASE_TEST_FUZZ_ENTRY_H
#define KMS_BASE_TEST_FUZZ_ENTRY_H

#include <stddef.h>
#include <stdint.h>

/**
 * Feeds one input to the code under test; a finding is a crash, an assert or a sanitizer report.
 *
 * Shape:  n bytes, n may be 0. Must not change them or keep the pointer. Returns 0.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n); /* NOLINT: libFuzzer's name */

#endif
