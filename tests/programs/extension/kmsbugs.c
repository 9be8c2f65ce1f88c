/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A python module with two bugs, built with -g: python itself is stripped, so the lines in a report
 * come from here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

#define NAMED __attribute__((noinline, noclone))

static void *volatile last; /* keeps the compiler from removing the blocks */

static NAMED void lose_record(long i)
{
	char *record = malloc(72); /* line: leak */

	record[0] = (char)i;
	last = record;
}

static NAMED void copy_name(long length)
{
	volatile char *name = malloc((size_t)length); /* line: alloc */

	for (long i = 0; i <= length; i++)
		name[i] = 0;
	last = (void *)name;
	free((void *)name); /* line: free */
}

static PyObject *leak(PyObject *self, PyObject *args)
{
	long n;

	(void)self;
	if (!PyArg_ParseTuple(args, "l", &n))
		return NULL;
	for (long i = 0; i < n; i++)
		lose_record(i);
	Py_RETURN_NONE;
}

static PyObject *overflow(PyObject *self, PyObject *args)
{
	long length;

	(void)self;
	if (!PyArg_ParseTuple(args, "l", &length))
		return NULL;
	copy_name(length);
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"leak",     leak,     METH_VARARGS, "Loses n blocks of 72 bytes."    },
	{"overflow", overflow, METH_VARARGS, "Writes one byte behind n bytes."},
	{NULL,       NULL,     0,            NULL			     },
};

static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "kmsbugs",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit_kmsbugs(void)
{
	return PyModule_Create(&module);
}
