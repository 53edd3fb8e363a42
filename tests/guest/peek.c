// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: dmabuf-vfio export BDF BAR -- dvp-peek OFFSET
 *
 * Maps the buffer it was given, and for each line that it reads prints the
 * four bytes at that offset, as the memory has them.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *fd = getenv("DMABUF_VFIO_FD");
	volatile uint32_t *word;
	off_t offset, size;
	char line[64];
	void *map;

	if (argc != 2 || !fd)
		errx(2, "dmabuf-vfio export BDF BAR -- dvp-peek OFFSET");
	offset = strtoul(argv[1], NULL, 0);
	size = lseek(atoi(fd), 0, SEEK_END);
	if (size < offset + 4)
		errx(1, "the buffer has %lld bytes", (long long)size);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, atoi(fd), 0);
	if (map == MAP_FAILED)
		err(1, "mmap");
	word = (uint32_t *)((char *)map + offset);
	setlinebuf(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		uint32_t bytes = *word;

		printf("%02x:%02x:%02x:%02x\n", bytes & 255, bytes >> 8 & 255,
		       bytes >> 16 & 255, bytes >> 24);
	}
	return 0;
}
