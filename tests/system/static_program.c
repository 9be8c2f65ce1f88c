/* SPDX-License-Identifier: BSD-2-Clause */
/* A statically linked program, which no preloaded library can reach. */
int main(void)
{
	return 0;
}
