/* SPDX-License-Identifier: BSD-2-Clause */
/* What ddi_umem_export() takes. */
#ifndef KMS_GUEST_MMAN_H
#define KMS_GUEST_MMAN_H

#define PROT_READ  1
#define PROT_WRITE 2

#endif
