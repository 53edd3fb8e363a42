// SPDX-License-Identifier: MIT
//! Bindings of libdmabuf-vfio, written by hand; libdmabuf-vfio(3) describes the
//! functions, `docs/abi.md` the structures and constants. `tests/rust` compares all of
//! them with the C headers.
//!
//! Depend on it by path: `dmabuf-vfio-sys = { path = "src/rust" }`. `build.rs` says how it
//! finds the library.
#![no_std]
#![allow(non_camel_case_types)]

mod uapi;

pub use uapi::*;

use core::ffi::c_void;
use core::marker::{PhantomData, PhantomPinned};

// core::ffi has these from 1.64 on.
pub type c_int = i32;
pub type c_uint = u32;
// A char is signed on some architectures only.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub type c_char = i8;
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
pub type c_char = u8;

pub const DMABUF_VFIO_VERSION_MAJOR: u32 = 0;
pub const DMABUF_VFIO_VERSION_MINOR: u32 = 1;

/// A function: by its node, or by a VFIO device descriptor. One thread at a time.
#[repr(C)]
pub struct dmabuf_vfio {
    _private: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A mapping of a buffer by this process.
#[repr(C)]
pub struct dmabuf_vfio_map {
    _private: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

extern "C" {
    pub fn dmabuf_vfio_parse_address(
        text: *const c_char,
        domain: *mut u32,
        bdf: *mut u32,
    ) -> c_int;
    pub fn dmabuf_vfio_open(
        name: *const c_char,
        writable: c_int,
        handle: *mut *mut dmabuf_vfio,
    ) -> c_int;
    pub fn dmabuf_vfio_from_device(fd: c_int, handle: *mut *mut dmabuf_vfio) -> c_int;
    pub fn dmabuf_vfio_close(handle: *mut dmabuf_vfio);
    pub fn dmabuf_vfio_fd(handle: *const dmabuf_vfio) -> c_int;
    pub fn dmabuf_vfio_query(handle: *mut dmabuf_vfio, info: *mut dmabuf_vfio_info) -> c_int;
    pub fn dmabuf_vfio_export_ranges(
        handle: *mut dmabuf_vfio,
        bar: c_uint,
        ranges: *const vfio_region_dma_range,
        nr: c_uint,
        flags: c_uint,
        open_flags: c_int,
    ) -> c_int;
    pub fn dmabuf_vfio_revoke_buffer(handle: *mut dmabuf_vfio, dmabuf: c_int) -> c_int;
    pub fn dmabuf_vfio_find_route(
        handle: *mut dmabuf_vfio,
        client: *const c_char,
        route: *mut dmabuf_vfio_route,
    ) -> c_int;
    pub fn dmabuf_vfio_next_event(
        handle: *mut dmabuf_vfio,
        event: *mut dmabuf_vfio_event,
        timeout_ms: c_int,
    ) -> c_int;
    pub fn dmabuf_vfio_map_buffer(
        dmabuf: c_int,
        offset: u64,
        length: usize,
        prot: c_int,
        map: *mut *mut dmabuf_vfio_map,
    ) -> c_int;
    pub fn dmabuf_vfio_map_address(map: *const dmabuf_vfio_map) -> *mut c_void;
    pub fn dmabuf_vfio_map_length(map: *const dmabuf_vfio_map) -> usize;
    pub fn dmabuf_vfio_map_lost(map: *const dmabuf_vfio_map) -> c_int;
    pub fn dmabuf_vfio_map_again(map: *mut dmabuf_vfio_map) -> c_int;
    pub fn dmabuf_vfio_unmap_buffer(map: *mut dmabuf_vfio_map);
}
