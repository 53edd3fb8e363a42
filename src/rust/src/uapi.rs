// SPDX-License-Identifier: MIT
//! The structures and constants of `<linux/dmabuf_vfio_pci.h>`.

// _IO() and linux/vfio.h's VFIO_TYPE and VFIO_BASE
const fn io(kind: u32, nr: u32) -> u32 {
    kind << 8 | nr
}
const VFIO_TYPE: u32 = b';' as u32;
const VFIO_BASE: u32 = 100;

// --- on the VFIO device descriptor

pub const VFIO_DEVICE_FEATURE_DMA_BUF: u32 = 11;
pub const VFIO_DEVICE_PCI_DMABUF_REVOKE: u32 = io(VFIO_TYPE, VFIO_BASE + 22);
pub const DMABUF_VFIO_FEATURE_REVOKE: u32 = 0xdb01;
pub const DMABUF_VFIO_P2P: u32 = io(VFIO_TYPE, VFIO_BASE + 22);

pub const DMABUF_VFIO_FLAG_TRANSLATED: u32 = 1 << 26;
pub const DMABUF_VFIO_FLAG_OWN: u32 = 1 << 27;
pub const DMABUF_VFIO_MEM_MASK: u32 = 0xf << 28;
pub const DMABUF_VFIO_MEM_UNCACHED: u32 = 0;
pub const DMABUF_VFIO_MEM_WRITE_COMBINING: u32 = 1 << 28;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct vfio_region_dma_range {
    pub offset: u64,
    pub length: u64,
}

/// `nr_ranges` ranges follow it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct vfio_device_feature_dma_buf {
    pub region_index: u32,
    pub open_flags: u32,
    pub flags: u32,
    pub nr_ranges: u32,
    pub dma_ranges: [vfio_region_dma_range; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct vfio_pci_dmabuf_revoke {
    pub argsz: u32,
    pub dmabuf_fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_feature_revoke {
    pub dmabuf_fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_p2p {
    pub region_index: u32,
    pub open_flags: u32,
    pub offset: u32,
    pub reserved: u32,
    pub length: u64,
}

// --- on the node

pub const DMABUF_VFIO_TYPE: u32 = 0xdb;
pub const DMABUF_VFIO_ABI_VERSION: u32 = 1;

pub const DMABUF_VFIO_INFO: u32 = io(DMABUF_VFIO_TYPE, 0);
pub const DMABUF_VFIO_EXPORT: u32 = io(DMABUF_VFIO_TYPE, 1);
pub const DMABUF_VFIO_REVOKE: u32 = io(DMABUF_VFIO_TYPE, 2);
pub const DMABUF_VFIO_ROUTE: u32 = io(DMABUF_VFIO_TYPE, 3);

pub const DMABUF_VFIO_REASON_CLOSED: u32 = 1 << 0;
pub const DMABUF_VFIO_REASON_CHANGING: u32 = 1 << 1;
pub const DMABUF_VFIO_REASON_MEMORY_OFF: u32 = 1 << 2;
pub const DMABUF_VFIO_REASON_D3HOT: u32 = 1 << 3;
pub const DMABUF_VFIO_REASON_LOW_POWER: u32 = 1 << 4;
pub const DMABUF_VFIO_REASON_RESET: u32 = 1 << 5;
pub const DMABUF_VFIO_REASON_ERROR: u32 = 1 << 6;
pub const DMABUF_VFIO_REASON_GONE: u32 = 1 << 7;
pub const DMABUF_VFIO_REASON_SLEEP: u32 = 1 << 8;
pub const DMABUF_VFIO_REASON_PF: u32 = 1 << 9;

pub const DMABUF_VFIO_CAP_WRITE_COMBINING: u32 = 1 << 0;
pub const DMABUF_VFIO_CAP_HUGE: u32 = 1 << 1;
pub const DMABUF_VFIO_CAP_IOVA: u32 = 1 << 2;
pub const DMABUF_VFIO_CAP_NATIVE: u32 = 1 << 3;

pub const DMABUF_VFIO_BAR_MEMORY: u32 = 1 << 0;
pub const DMABUF_VFIO_BAR_64BIT: u32 = 1 << 1;
pub const DMABUF_VFIO_BAR_PREFETCHABLE: u32 = 1 << 2;
pub const DMABUF_VFIO_BAR_EXPORTABLE: u32 = 1 << 3;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_bar {
    pub size: u64,
    pub flags: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_info {
    pub argsz: u32,
    pub flags: u32,
    pub abi_version: u32,
    pub capabilities: u32,
    pub reasons: u32,
    pub nr_buffers: u32,
    pub bars: [dmabuf_vfio_bar; 6],
    pub driver_version: [u8; 32],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_export {
    pub argsz: u32,
    pub flags: u32,
    pub dma_buf: vfio_device_feature_dma_buf,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_revoke {
    pub argsz: u32,
    pub flags: u32,
    pub dmabuf_fd: i32,
    pub reserved: u32,
}

pub const DMABUF_VFIO_ROUTE_NONE: u32 = 0;
pub const DMABUF_VFIO_ROUTE_BUS: u32 = 1;
pub const DMABUF_VFIO_ROUTE_HOST: u32 = 2;

pub const DMABUF_VFIO_WHY_SWITCH: u32 = 0;
pub const DMABUF_VFIO_WHY_FORWARDED: u32 = 1;
pub const DMABUF_VFIO_WHY_REDIRECTED: u32 = 2;
pub const DMABUF_VFIO_WHY_NOT_FORWARDED: u32 = 3;
pub const DMABUF_VFIO_WHY_REDIRECTED_AWAY: u32 = 4;
pub const DMABUF_VFIO_WHY_NO_PATH: u32 = 5;

pub const DMABUF_VFIO_ACCESS_NO: u32 = 0;
pub const DMABUF_VFIO_ACCESS_YES: u32 = 1;
pub const DMABUF_VFIO_ACCESS_UNKNOWN: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_route {
    pub argsz: u32,
    pub flags: u32,
    pub client_domain: u32,
    pub client_bdf: u32,
    pub route: u32,
    pub distance: i32,
    pub reason: u32,
    pub reads: u32,
    pub writes: u32,
    pub reserved: u32,
}

pub const DMABUF_VFIO_EVENT_REVOKED: u32 = 1;
pub const DMABUF_VFIO_EVENT_RESTORED: u32 = 2;
pub const DMABUF_VFIO_EVENT_CLOSED: u32 = 3;
pub const DMABUF_VFIO_EVENT_OPENED: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct dmabuf_vfio_event {
    pub seq: u64,
    pub time_ns: u64,
    pub r#type: u32,
    pub reasons: u32,
    pub lost: u32,
    pub reserved: u32,
}
