// SPDX-License-Identifier: MIT
//! Links libdmabuf-vfio: from the folder in DMABUF_VFIO_LIB_DIR, as pkg-config says, or
//! from where the linker looks by itself.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=DMABUF_VFIO_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    if let Ok(dir) = env::var("DMABUF_VFIO_LIB_DIR") {
        println!("cargo:rustc-link-search=native={dir}");
    } else if let Ok(found) = Command::new("pkg-config")
        .args(["--variable=libdir", "libdmabuf-vfio"])
        .output()
    {
        let dir = String::from_utf8_lossy(&found.stdout);
        if found.status.success() && !dir.trim().is_empty() {
            println!("cargo:rustc-link-search=native={}", dir.trim());
        }
    }
    println!("cargo:rustc-link-lib=dmabuf-vfio");
}
