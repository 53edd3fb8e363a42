// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 5.15 to 7.2: the core's behaviour is set for all functions at once.
 * symbol: vfio_pci_core_set_params one-of: vfio_pci_core_params
 */
#include <linux/vfio_pci_core.h>

void probe(void);
void probe(void)
{
	vfio_pci_core_set_params(false, false, false);
}
