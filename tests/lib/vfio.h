/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO as cases use it: bind a function, open it by container and group, and
 * reach its regions. Unless a name starts with vfio_try_, a failure fails the
 * case. What is bound here is bound back by the harness after the case.
 *
 * The driver under test is dmabuf-vfio-pci, or the one that DVP_DRIVER names:
 * vfio-pci is the kernel's own, or in a guest with the drop-in that.
 */
#ifndef DVP_VFIO_H
#define DVP_VFIO_H

#include <linux/dmabuf_vfio_pci.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness.h"

#define VFIO_BDF_LEN	16	/* "0000:01:00.0" and its NUL */
#define VARIANT_DRIVER	"dmabuf-vfio-pci"
#define STOCK_DRIVER	"vfio-pci"
#define STOCK_MODULE	"vfio_pci"

struct vfio_dev {
	char bdf[VFIO_BDF_LEN];
	int group_id;
	bool noiommu;
	int container;			/* of the group, see vfio_close() */
	int group;
	int fd;
	struct vfio_device_info info;
};

/* Names */
const char *vfio_driver(void);		/* "dmabuf-vfio-pci" */
const char *vfio_module(void);		/* "dmabuf_vfio_pci" */
bool vfio_is_stock(void);		/* DVP_DRIVER=vfio-pci */
bool vfio_is_dropin(void);		/* the same, and --dropin */
bool vfio_has_exporter(void);		/* ours, or stock with one of its own */
const char *vfio_other_driver(void);	/* stock, or beside the drop-in ours */
const char *vfio_debugfs(const char *bdf, const char *file);	/* static */
const char *vfio_exporter(void);	/* its module: "dmabuf_vfio_pci" */

/* The function that has the role, as in /etc/topology; skips without one. */
const char *t_role(const char *role);
bool t_has_role(const char *role);

/* What the "big" function has in BAR 2 */
u64 t_big_size(void);

/* Binding; NULL as driver: none. */
int vfio_try_bind(const char *bdf, const char *driver);
void vfio_bind(const char *bdf, const char *driver);
void vfio_unbind(const char *bdf);
const char *vfio_driver_of(const char *bdf);	/* "" for none, static */

/*
 * Modules, as rmmod and modprobe do. What a case unloads the harness loads
 * again after it.
 */
int vfio_rmmod(const char *module);		/* -EAGAIN: in use */
void vfio_modprobe(const char *module);

/*
 * Puts the kernel's own vfio-pci in the place of the drop-in. It stays until
 * the end of the case, or until vfio_load(NULL).
 */
void vfio_load_stock(void);

/* Loads the driver under test anew, with these parameters, see above. */
void vfio_load(const char *params);

/*
 * How long a revoke waits for an importer before it cuts it off, milliseconds;
 * the harness puts it back after the case.
 */
#define VFIO_GRACE_MS	1000		/* unless it is set */

void vfio_grace(unsigned int ms);
unsigned int vfio_grace_ms(void);

/*
 * A group cannot be had while a host driver uses one of its functions:
 * unbinds those, and with @driver binds all functions of the group to it.
 */
void vfio_free_group(const char *bdf, const char *driver);
int vfio_group_of(const char *bdf);		/* its number, -1: none */
bool vfio_share_a_group(const char *role, const char *other);

/*
 * Opens the function with that role: frees its group, binds it to the driver
 * under test unless a vfio driver has it, opens container, group and device.
 * A group is opened once for all functions of it and closed with the last.
 * Skips where the bench has no such role or no way to use VFIO.
 */
struct vfio_dev *vfio_open(const char *role);
struct vfio_dev *vfio_open_exporter(const char *role);	/* skips without */
struct vfio_dev *vfio_open_pf(void);	/* "pf"; "vf" is there then */
struct vfio_dev *vfio_open_bdf(const char *bdf, const char *driver);
int vfio_try_open_bdf(const char *bdf, struct vfio_dev **dev);
int vfio_device_fd(const struct vfio_dev *dev);	/* one more, or -errno */

/*
 * Closes the device, and group and container if nothing else uses them. To
 * close in another order, close the descriptors and then vfio_forget().
 */
void vfio_close(struct vfio_dev *dev);
void vfio_forget(struct vfio_dev *dev);

/* Resets the bus of @dev, and with it a function of that group, or its own. */
int vfio_hot_reset(const struct vfio_dev *dev, int other_group);

/* Revokes a buffer for good. */
int vfio_revoke(int vfio, int fd);

/* Regions. vfio_region() returns allocated memory, capabilities included. */
struct vfio_region_info *vfio_region(const struct vfio_dev *dev, u32 index);
const void *vfio_region_cap(const struct vfio_region_info *info, u16 id);
u64 vfio_bar_size(const struct vfio_dev *dev, int bar);	/* 0: absent */
u64 vfio_region_offset(const struct vfio_dev *dev, u32 index);
bool vfio_bar_is_io(const struct vfio_dev *dev, int bar);

int vfio_try_pread(const struct vfio_dev *dev, u32 region, void *buf,
		   size_t len, u64 offset);	/* length or -errno */
int vfio_try_pwrite(const struct vfio_dev *dev, u32 region,
		    const void *buf, size_t len, u64 offset);
u32 vfio_cfg_read(const struct vfio_dev *dev, u32 offset, size_t size);
void vfio_cfg_write(const struct vfio_dev *dev, u32 offset, size_t size,
		    u32 value);
int vfio_find_cap(const struct vfio_dev *dev, u8 id);	/* or 0 */
int vfio_find_ecap(const struct vfio_dev *dev, u16 id);	/* or 0 */

/* COMMAND.MEM, COMMAND.MASTER. A function is opened with both off. */
void vfio_mem_enable(const struct vfio_dev *dev, bool on);
void vfio_master_enable(const struct vfio_dev *dev, bool on);

/* mmap of a piece of a BAR; MAP_FAILED and errno if refused. */
void *vfio_try_map_bar(const struct vfio_dev *dev, int bar, u64 offset,
		       size_t len, int prot);
void *vfio_map_bar(const struct vfio_dev *dev, int bar, u64 offset,
		   size_t len);

/* One access of that width, which the compiler leaves alone */
static inline u32 mem_read(const u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void mem_write(u32 *p, u32 value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

/* Memory of this process at an IOVA of the function. */
void vfio_dma_map(const struct vfio_dev *dev, void *buf, size_t len,
		  u64 iova);
void vfio_dma_unmap(const struct vfio_dev *dev, u64 iova, size_t len);

/* Binds one eventfd (-1: none) to one vector; 0 or -errno */
/* One of an index; @flags: VFIO_IRQ_SET_* */
int vfio_set_irqs(const struct vfio_dev *dev, u32 flags, u32 index, u32 start,
		  int fd);
int vfio_set_irq(const struct vfio_dev *dev, u32 index, u32 start, int fd);

/*
 * VFIO_DEVICE_FEATURE. @flags: feature number and VFIO_DEVICE_FEATURE_GET and
 * so on; argsz is that of the header and @len bytes of @data, which are
 * copied back. Result of the ioctl, or -errno.
 */
int vfio_feature(int fd, u32 flags, void *data, size_t len);

/* Exports ranges of a BAR. The new fd, or -errno. */
int export_buf(int fd, u32 region, u32 open_flags, u32 flags,
	       const struct vfio_region_dma_range *ranges, u32 n);
int export_bar(const struct vfio_dev *dev, int bar);	/* all of it */
int export_range(const struct vfio_dev *dev, int bar, u64 offset,
		 u64 length);

#endif /* DVP_VFIO_H */
