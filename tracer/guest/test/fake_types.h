/* SPDX-License-Identifier: BSD-2-Clause */
/* The types of a made-up kernel: each struct laid out in an order and with gaps of the seed. */
#ifndef KMS_TRACER_GUEST_TEST_FAKE_TYPES_H
#define KMS_TRACER_GUEST_TEST_FAKE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "tracer/guest/test/fake_linux.h"

/** Lays all structs out, remembers where members are, writes BTF; the bytes it has. */
size_t fake_types_write(struct fake_linux *fake, uint8_t *text);

#endif
