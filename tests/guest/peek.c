// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage, in a guest: dvp-peek FD OFFSET LENGTH
 *
 * Maps a dma-buf, and for each line that it reads prints the bytes that are
 * there then.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	size_t offset, length, i;
	volatile char *memory;
	char line[64];

	if (argc != 4)
		errx(2, "FD OFFSET LENGTH");
	offset = strtoul(argv[2], NULL, 0);
	length = strtoul(argv[3], NULL, 0);
	memory = mmap(NULL, offset + length, PROT_READ, MAP_SHARED,
		      atoi(argv[1]), 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	while (fgets(line, sizeof(line), stdin)) {
		for (i = 0; i < length; i++)
			putchar(memory[offset + i]);
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}
