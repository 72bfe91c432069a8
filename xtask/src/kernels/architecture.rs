//! What differs by architecture: the target to build for, the machine to emulate.

use std::path::Path;

/// An architecture that zctrace knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    pub(super) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// Debian's name.
    pub(super) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's target.
    pub(super) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// For the C and assembler files of dependencies.
    pub(super) const fn compiler(self) -> &'static str {
        match self {
            Self::Amd64 => "gcc",
            Self::Arm64 => "aarch64-linux-gnu-gcc",
        }
    }

    /// Rust's own linker where the machine's is for another architecture.
    pub(super) const fn linker(self) -> Option<&'static str> {
        match self {
            Self::Amd64 => None,
            Self::Arm64 => Some("rust-lld"),
        }
    }

    /// Debian's packages that building and emulating take.
    pub(super) const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &["cpio", "gcc", "libc6-dev", "qemu-system-x86", "xz-utils"],
            Self::Arm64 => &["cpio", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-system-arm", "xz-utils"],
        }
    }

    pub(super) const fn emulator(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The machine. Kernels up to 6.1 have virtio as a module: plain serial ports do everywhere.
    pub(super) fn machine(self) -> Vec<&'static str> {
        match self {
            Self::Amd64 => vec!["-machine", "q35", "-cpu", "max", "-accel", "tcg", "-nodefaults"],
            Self::Arm64 => {
                vec!["-machine", "virt", "-cpu", "max,pauth-impdef=on", "-accel", "tcg", "-nodefaults"]
            }
        }
    }

    pub(super) const fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// The second serial port, into a file.
    pub(super) fn second_port(self, file: &Path) -> Vec<String> {
        let file = file.display();
        match self {
            Self::Amd64 => vec!["-serial".to_owned(), format!("file:{file}")],
            Self::Arm64 => vec![
                "-chardev".to_owned(),
                format!("file,id=results,path={file}"),
                "-device".to_owned(),
                "pci-serial,chardev=results".to_owned(),
            ],
        }
    }

    /// What the guest calls it.
    pub(super) const fn port(self) -> &'static str {
        match self {
            Self::Amd64 => "/dev/ttyS1",
            Self::Arm64 => "/dev/ttyS0",
        }
    }
}
