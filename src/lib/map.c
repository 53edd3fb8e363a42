// SPDX-License-Identifier: MIT
/*
 * Mappings that survive the loss of their memory.
 *
 * The kernel answers an access to a revoked buffer with SIGBUS. The handler
 * here finds the mapping by the address, puts pages of zeroes in its place, and
 * lets the access be made again. It runs in any thread, between any two
 * instructions, so it takes no lock: mappings are in a list that only grows, of
 * nodes that are used again and never freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf-vfio.h"

struct dmabuf_vfio_map {
	struct dmabuf_vfio_map *next;
	atomic_uintptr_t start;		/* zero: free */
	atomic_size_t length;
	atomic_int lost;
	int fd;
	int prot;
	uint64_t offset;
};

static atomic_uintptr_t maps;		/* the first of them */
static struct sigaction former;

/* Held to add a mapping and to use one again. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct dmabuf_vfio_map *first_map(void)
{
	return (struct dmabuf_vfio_map *)atomic_load(&maps);
}

static struct dmabuf_vfio_map *find(uintptr_t at)
{
	struct dmabuf_vfio_map *m;

	for (m = first_map(); m; m = m->next) {
		uintptr_t start = atomic_load(&m->start);

		if (start && at >= start &&
		    at - start < atomic_load(&m->length))
			return m;
	}
	return NULL;
}

/* What would have happened without this library */
static void hand_on(int signal, siginfo_t *info, void *context)
{
	if (former.sa_flags & SA_SIGINFO)
		former.sa_sigaction(signal, info, context);
	else if (former.sa_handler != SIG_DFL &&
		 former.sa_handler != SIG_IGN)
		former.sa_handler(signal);
	else
		/* The access is made again, and ends the process. */
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL },
			  NULL);
}

static int replace(struct dmabuf_vfio_map *m)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
	void *start = (void *)atomic_load(&m->start);

	return mmap(start, atomic_load(&m->length), m->prot, flags, -1, 0) ==
	       start;
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	struct dmabuf_vfio_map *m = find((uintptr_t)info->si_addr);
	int err = errno;

	if (m && replace(m))
		atomic_store(&m->lost, 1);
	else
		hand_on(signal, info, context);
	errno = err;
}

static int handle_sigbus(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	static int done;

	if (done)
		return 0;
	if (sigaction(SIGBUS, &action, &former))
		return -errno;
	done = 1;
	return 0;
}

/* A free one, or a new one; with the lock held. */
static struct dmabuf_vfio_map *take_node(void)
{
	struct dmabuf_vfio_map *m;

	for (m = first_map(); m; m = m->next)
		if (m->fd < 0)
			return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->fd = -1;
	m->next = first_map();
	atomic_store(&maps, (uintptr_t)m);
	return m;
}

static int fill(struct dmabuf_vfio_map *m, int dmabuf, uint64_t offset,
		size_t length, int prot)
{
	void *p = mmap(NULL, length, prot, MAP_SHARED, dmabuf, offset);
	int fd;

	if (p == MAP_FAILED)
		return -errno;
	fd = fcntl(dmabuf, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		int err = -errno;

		munmap(p, length);
		return err;
	}
	m->fd = fd;
	m->prot = prot;
	m->offset = offset;
	atomic_store(&m->lost, 0);
	atomic_store(&m->length, length);
	atomic_store(&m->start, (uintptr_t)p);
	return 0;
}

int dmabuf_vfio_map_buffer(int dmabuf, uint64_t offset, size_t length, int prot,
			   struct dmabuf_vfio_map **map)
{
	struct dmabuf_vfio_map *m;
	off_t size;
	int ret;

	size = lseek(dmabuf, 0, SEEK_END);
	if (size < 0)
		return -errno;
	if (offset >= (uint64_t)size || length > size - offset)
		return -EINVAL;
	if (!length)
		length = size - offset;
	pthread_mutex_lock(&lock);
	ret = handle_sigbus();
	if (!ret) {
		m = take_node();
		ret = m ? fill(m, dmabuf, offset, length, prot) : -ENOMEM;
		if (!ret)
			*map = m;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

void *dmabuf_vfio_map_address(const struct dmabuf_vfio_map *map)
{
	return (void *)atomic_load(&map->start);
}

size_t dmabuf_vfio_map_length(const struct dmabuf_vfio_map *map)
{
	return atomic_load(&map->length);
}

int dmabuf_vfio_map_lost(const struct dmabuf_vfio_map *map)
{
	return atomic_load(&map->lost);
}

int dmabuf_vfio_map_again(struct dmabuf_vfio_map *map)
{
	/* Before it is there, so that a loss right after is not forgotten. */
	atomic_store(&map->lost, 0);
	if (mmap(dmabuf_vfio_map_address(map), dmabuf_vfio_map_length(map),
		 map->prot, MAP_SHARED | MAP_FIXED, map->fd,
		 map->offset) == MAP_FAILED) {
		int err = -errno;

		atomic_store(&map->lost, 1);
		return err;
	}
	return 0;
}

void dmabuf_vfio_unmap_buffer(struct dmabuf_vfio_map *map)
{
	void *start;
	int fd;

	if (!map)
		return;
	pthread_mutex_lock(&lock);
	start = dmabuf_vfio_map_address(map);
	fd = map->fd;
	/* The addresses may be another mapping's as soon as they are free. */
	atomic_store(&map->start, 0);
	munmap(start, dmabuf_vfio_map_length(map));
	map->fd = -1;
	pthread_mutex_unlock(&lock);
	close(fd);
}
