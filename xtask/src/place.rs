//! Where things are: the checkout, and the folders under `target/` that the chores fill.
//!
//! Everything a chore makes lies under the checkout's own `target/`, even where `CARGO_TARGET_DIR` points
//! elsewhere: SwiftPM refuses sources outside the package, and `cargo clean` is then a full reset.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout this chore works on.
pub(crate) struct Place {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
}

impl Place {
    /// Cargo tells a program it runs where its manifest is; started without cargo, the folder one is in counts.
    pub(crate) fn find() -> Result<Self> {
        let root = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(manifest) => Path::new(&manifest).parent().map(Path::to_path_buf),
            None => std::env::current_dir()
                .context("the current folder cannot be read")?
                .ancestors()
                .find(|folder| folder.join("Cargo.lock").is_file())
                .map(Path::to_path_buf),
        };
        let root = root.context("start this as `cargo xtask` inside the checkout")?;
        Ok(Self { root })
    }

    /// A path in the checkout.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Where cargo puts what it builds.
    pub(crate) fn cargo_target(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.at("target"),
        }
    }

    /// Programs that `setup` builds for this checkout alone.
    pub(crate) fn tools(&self) -> PathBuf {
        self.at("target/tools")
    }

    /// The Debian root that holds Swift where the machine has none.
    pub(crate) fn swift_root(&self) -> PathBuf {
        self.at("target/swift-root")
    }

    /// Generated Kotlin and Swift, and the library they load: `kotlin/`, `swift/`, `native/`.
    pub(crate) fn bindings(&self) -> PathBuf {
        self.at("target/bindings")
    }

    /// The library where a JAR has it.
    pub(crate) fn library_for_jar(&self) -> PathBuf {
        self.at("target/bindings/jar")
    }
}
