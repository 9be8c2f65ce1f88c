/* SPDX-License-Identifier: BSD-2-Clause */
/* The error numbers that the guest's code uses, with the values of Linux. */
#ifndef KMS_GUEST_ERRNO_H
#define KMS_GUEST_ERRNO_H

#define ENOENT  2
#define EAGAIN  11
#define ENOMEM  12
#define ENODEV  19
#define EINVAL  22
#define ERANGE  34
#define ENOTSUP 95

#endif
