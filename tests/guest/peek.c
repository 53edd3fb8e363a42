// SPDX-License-Identifier: GPL-2.0-only
/*
 * Usage: dmabuf-vfio export BDF BAR -- dvp-peek OFFSET LENGTH
 *
 * Maps the buffer it was given, and for each line that it reads prints the
 * bytes there, as the memory has them then. It reads words, as registers want.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t byte_at(volatile uint32_t *words, off_t at)
{
	return words[at / 4] >> at % 4 * 8;
}

int main(int argc, char **argv)
{
	const char *fd = getenv("DMABUF_VFIO_FD");
	off_t offset, length, size, i;
	volatile uint32_t *words;
	char line[64];

	if (argc != 3 || !fd)
		errx(2, "dmabuf-vfio export BDF BAR -- dvp-peek OFFSET LENGTH");
	offset = strtoul(argv[1], NULL, 0);
	length = strtoul(argv[2], NULL, 0);
	size = lseek(atoi(fd), 0, SEEK_END);
	if (size < offset + length)
		errx(1, "the buffer has %lld bytes", (long long)size);
	words = mmap(NULL, size, PROT_READ, MAP_SHARED, atoi(fd), 0);
	if (words == MAP_FAILED)
		err(1, "mmap");
	setlinebuf(stdout);
	while (fgets(line, sizeof(line), stdin))
		for (i = 0; i < length; i++)
			printf("%02x%c", byte_at(words, offset + i),
			       i + 1 < length ? ':' : '\n');
	return 0;
}
