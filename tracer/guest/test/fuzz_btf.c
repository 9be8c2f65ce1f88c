/* SPDX-License-Identifier: BSD-2-Clause */
/* BTF of a guest: opened, searched, and all places of a kernel looked up in it. */
#include "base/test/fuzz_entry.h"

#include "tracer/guest/btf.h"
#include "tracer/guest/linux_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct kms_linux_layout layout;
	struct kms_btf *btf;

	if (kms_btf_open(bytes, n, &btf, NULL))
		return 0;
	if (!kms_linux_layout_probe(&layout, btf, NULL) && kms_linux_layout_check(&layout, NULL))
		__builtin_trap(); /* what was probed must pass as what was kept */
	for (uint32_t id = 0; id <= kms_btf_types(btf) && id < 64; id++)
		(void)kms_btf_size(btf, id);
	kms_btf_close(btf);
	return 0;
}
