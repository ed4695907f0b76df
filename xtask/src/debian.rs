//! Debian's package manager: which packages are missing, installing them, and the machine's own mirror.

use anyhow::{Context, Result, bail};

use crate::run;

/// A program a part needs, and the Debian package that brings it.
pub(crate) struct Need {
    /// Looked for on the PATH.
    pub(crate) program: &'static str,
    /// Debian's name for the package.
    pub(crate) package: &'static str,
    /// For a reader whose machine is not Debian.
    pub(crate) plain: &'static str,
}

/// Those of `needs` whose program is not on the PATH.
pub(crate) fn missing_of(needs: impl Iterator<Item = Need>) -> Vec<Need> {
    needs.filter(|need| which::which(need.program).is_err()).collect()
}

/// Whether packages can be installed here: Debian (or a descendant), as root. Else says what to do by hand.
pub(crate) fn check(missing: &[Need]) -> Result<()> {
    let debian = which::which("apt-get").is_ok();
    if debian && is_root() {
        return Ok(());
    }
    if debian {
        let packages = missing
            .iter()
            .map(|need| need.package)
            .collect::<Vec<_>>()
            .join(" ");
        bail!(
            "installing packages needs root, and this is not root.\n\
             Install them by hand, then run this again:\n  sudo apt-get install --no-install-recommends {packages}"
        );
    }
    let names = missing
        .iter()
        .map(|need| format!("  {} (`{}`)", need.plain, need.program));
    bail!(
        "this machine has no apt-get, so these are yours to install (then run this again):\n{}",
        names.collect::<Vec<_>>().join("\n")
    );
}

/// Installs packages, after a fresh look at what the mirror has.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    run::quiet(run::program("apt-get", ["update", "-q"]))?;
    let mut command = run::program("apt-get", ["install", "-q", "-y", "--no-install-recommends"]);
    command.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    run::quiet(command).map(drop)
}

/// The Debian mirror this machine uses, as apt itself understands its configuration (old and new file
/// formats, includes). The security archive carries no release to install from, hence the label.
pub(crate) fn mirror() -> Result<String> {
    let list = run::quiet(run::program(
        "apt-get",
        [
            "indextargets",
            "--format",
            "$(REPO_URI) $(LABEL)",
            "Created-By: Packages",
        ],
    ))?;
    debian_mirror(&list).context("apt's configuration names no Debian mirror (apt-get indextargets)")
}

fn debian_mirror(list: &str) -> Option<String> {
    list.lines()
        .find_map(|line| line.strip_suffix(" Debian"))
        .map(|uri| uri.trim_end_matches('/').to_owned())
}

/// Asked of `id`, so that no crate for one system call is needed.
pub(crate) fn is_root() -> bool {
    run::quiet(run::program("id", ["-u"])).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_own_not_a_third_partys_nor_the_security_archive() {
        let list = "http://vendor.invalid/apt/ Vendor\nhttp://m.invalid/security/ Debian-Security\n\
                    http://m.invalid/debian/ Debian\n";
        assert_eq!(debian_mirror(list).as_deref(), Some("http://m.invalid/debian"));
        assert_eq!(debian_mirror(""), None);
    }
}
