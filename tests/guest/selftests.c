// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linked into the kernel's tests of VFIO. They take iommufd where a case does
 * not say which IOMMU interface it is for, and have no option for another; and
 * one requires a driver named vfio-pci for its VF.
 */
#include <stdlib.h>
#include <string.h>

#include <libvfio.h>

#define VARIANT	"dmabuf-vfio-pci"
#define STOCK	"vfio-pci"

char *__real_sysfs_driver_get(const char *bdf);
char *__wrap_sysfs_driver_get(const char *bdf);

static void __attribute__((constructor)) choose_iommu_mode(void)
{
	const char *mode = getenv("DVP_IOMMU_MODE");

	if (mode)
		default_iommu_mode = mode;
}

/* The linker has calls of sysfs_driver_get() come here. */
char *__wrap_sysfs_driver_get(const char *bdf)
{
	char *driver = __real_sysfs_driver_get(bdf);

	if (driver && !strcmp(driver, VARIANT))
		strcpy(driver, STOCK);
	return driver;
}
