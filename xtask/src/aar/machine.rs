//! The library for Android's machines: with the NDK where there is one, else linked against nothing.
//!
//! Without the NDK the linker is the one that Rust brings, and the system's libraries are empty stand-ins. The code is the
//! real one, for measuring and checking; but it names no system library and lacks the NDK's unwinder, so no phone loads it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::run;

/// One of Android's kinds of machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Abi {
    /// As Android calls it.
    pub(crate) name: &'static str,
    /// As Rust calls it.
    target: &'static str,
    /// As the NDK's linker is called.
    clang: &'static str,
    /// As the linker of LLVM calls it.
    emulation: &'static str,
    /// `e_machine` of its ELF files.
    pub(crate) machine: u16,
}

/// Those that are shipped.
pub(crate) const ABIS: [Abi; 3] = [
    Abi {
        name: "arm64-v8a",
        target: "aarch64-linux-android",
        clang: "aarch64-linux-android24-clang",
        emulation: "aarch64linux",
        machine: 183,
    },
    Abi {
        name: "armeabi-v7a",
        target: "armv7-linux-androideabi",
        clang: "armv7a-linux-androideabi24-clang",
        emulation: "armelf_linux_eabi",
        machine: 40,
    },
    Abi {
        name: "x86_64",
        target: "x86_64-linux-android",
        clang: "x86_64-linux-android24-clang",
        emulation: "elf_x86_64",
        machine: 62,
    },
];

/// What Android 15's devices with pages of 16 KB want of a library.
pub(crate) const PAGE: u64 = 16 * 1024;

/// The folder with the NDK's compilers, where the machine has it.
pub(crate) fn ndk() -> Option<PathBuf> {
    let home = ["ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "NDK_HOME"]
        .iter()
        .find_map(std::env::var_os)?;
    let hosts = fs::read_dir(Path::new(&home).join("toolchains/llvm/prebuilt")).ok()?;
    hosts
        .flatten()
        .map(|host| host.path().join("bin"))
        .find(|bin| bin.is_dir())
}

/// Builds the library for one of them; where it is.
pub(crate) fn build(place: &Place, abi: &Abi, ndk: Option<&Path>) -> Result<PathBuf> {
    let mut target = run::program("rustup", ["target", "add", abi.target]);
    target.current_dir(&place.root);
    run::quiet(target).context("the standard library for that machine cannot be had")?;

    let mut flags: Vec<OsString> = Vec::new();
    match ndk {
        Some(bin) => {
            let mut linker = OsString::from("-Clinker=");
            linker.push(bin.join(abi.clang));
            flags.push(linker);
            flags.push(format!("-Clink-arg=-Wl,-z,max-page-size={PAGE}").into());
        }
        None => {
            let mut folder = OsString::from("-Clink-arg=-L");
            folder.push(stand_ins(place, abi)?);
            flags.extend([
                "-Clinker=rust-lld".into(),
                "-Clinker-flavor=ld.lld".into(),
                folder,
            ]);
            flags.push("-Clink-arg=-z".into());
            flags.push(format!("-Clink-arg=max-page-size={PAGE}").into());
        }
    }
    let mut command = run::program(
        "cargo",
        [
            "rustc",
            "--package",
            "gatepass",
            "--lib",
            "--crate-type",
            "cdylib",
        ],
    );
    command
        .args([
            "--no-default-features",
            "--features",
            "uniffi",
            "--profile",
            "mobile",
        ])
        .args(["--target", abi.target])
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags.join(std::ffi::OsStr::new("\x1f")),
        )
        .current_dir(&place.root);
    run::quiet(command)?;
    let built = place
        .cargo_target()
        .join(abi.target)
        .join("mobile/libgatepass.so");
    if !built.is_file() {
        bail!("cargo built no {}", built.display());
    }
    Ok(built)
}

/// How large a library is, and how large when it is downloaded.
pub(crate) fn size(library: &Path) -> Result<String> {
    let bytes = fs::metadata(library)?.len();
    let mut gzip = run::program("gzip", ["-9", "-k", "-f"]);
    gzip.arg(library);
    run::quiet(gzip)?;
    let packed = fs::metadata(library.with_extension("so.gz"))?.len();
    Ok(format!("{bytes} bytes, {packed} compressed"))
}

/// Libraries with the system's names and nothing in them.
fn stand_ins(place: &Place, abi: &Abi) -> Result<PathBuf> {
    let folder = place.at("target/aar/stand-ins").join(abi.name);
    fs::create_dir_all(&folder)?;
    let nothing = folder.join("nothing.ld");
    fs::write(&nothing, "")?;
    let root = run::quiet(run::program("rustc", ["--print", "sysroot"]))?;
    let host = run::quiet(run::program("rustc", ["--print", "host-tuple"]))?;
    let lld = Path::new(root.trim())
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin/rust-lld");
    for name in ["libc.so", "libm.so", "libdl.so", "liblog.so"] {
        let mut link = std::process::Command::new(&lld);
        link.args(["-flavor", "gnu", "-m", abi.emulation, "-shared", "-o"])
            .arg(folder.join(name))
            .arg(format!("--soname={name}"))
            .arg(&nothing);
        run::quiet(link)?;
    }
    for name in ["libunwind.a", "libgcc.a"] {
        fs::write(folder.join(name), "!<arch>\n")?;
    }
    Ok(folder)
}

/// What an ELF file says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// For which machine.
    pub(crate) machine: u16,
    /// The smallest alignment of what is loaded.
    pub(crate) alignment: u64,
}

/// Reads the headers. Takes any bytes.
pub(crate) fn elf(bytes: &[u8]) -> Result<Elf> {
    let long = match bytes.get(..6) {
        Some([0x7f, b'E', b'L', b'F', 1, 1]) => false,
        Some([0x7f, b'E', b'L', b'F', 2, 1]) => true,
        _ => bail!("it is no little-endian ELF file"),
    };
    let number = |at: usize, size: usize| -> Result<u64> {
        let end = at.checked_add(size).context("no such place")?;
        let field = bytes.get(at..end).context("the ELF file is cut short")?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    let word = if long { 8 } else { 4 };
    let machine = u16::try_from(number(18, 2)?)?;
    let table = usize::try_from(number(if long { 32 } else { 28 }, word)?)?;
    let size = usize::try_from(number(if long { 54 } else { 42 }, 2)?)?;
    let count = usize::try_from(number(if long { 56 } else { 44 }, 2)?)?;
    let mut alignment = u64::MAX;
    for index in 0..count {
        let header = index
            .checked_mul(size)
            .and_then(|offset| offset.checked_add(table))
            .context("no such place")?;
        const LOAD: u64 = 1;
        if number(header, 4)? == LOAD {
            let at = if long { 48 } else { 28 };
            alignment = alignment.min(number(header.checked_add(at).context("no such place")?, word)?);
        }
    }
    Ok(Elf { machine, alignment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_rubbish_is_told() {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        file[18] = 183;
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        for header in [64, 64 + 56] {
            file[header] = 1;
        }
        file[64 + 48 + 1] = 0x40;
        file[64 + 56 + 48 + 1] = 0x10;
        let found = elf(&file).unwrap();
        assert_eq!((found.machine, found.alignment), (183, 0x1000));
        for cut in 0..file.len() - 8 {
            assert!(elf(&file[..cut]).is_err(), "{cut}");
        }
        assert!(elf(b"!<arch>\n").is_err());
    }

    #[test]
    fn our_own_program_is_one() {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return;
        }
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(elf(&own).unwrap().machine, 62);
    }
}
