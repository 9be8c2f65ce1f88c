/*
 * cmocka with what it needs in front of it, so that a unit test includes one header.
 */
#ifndef KMS_BASE_TEST_UNIT_H
#define KMS_BASE_TEST_UNIT_H

/* cmocka.h uses these and includes none of them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
