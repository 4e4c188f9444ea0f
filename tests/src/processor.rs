//! Hides CPU features from a program by its environment.
//!
//! glibc chooses its copy and fill routines by `GLIBC_TUNABLES`, AWS-LC its ciphers and hashes by `OPENSSL_ia32cap`: two masks of
//! bits to clear in CPUID leaf 1 (EDX, ECX) and leaf 7 (EBX, ECX). What Rust detects itself cannot be hidden.

/// A set of CPU features, and the environment that hides all others.
pub struct Processor {
    /// For failure messages.
    pub name: &'static str,
    /// The environment variables.
    pub environment: &'static [(&'static str, &'static str)],
}

const NO_AVX512: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512F_Usable";
const NO_AVX2: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load";
const NO_ERMS: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3";

/// From all features of this machine down to neither vector nor AES instructions.
pub const PROCESSORS: [Processor; 6] = [
    Processor {
        name: "all there is",
        environment: &[],
    },
    Processor {
        name: "no AVX-512, no VAES",
        environment: &[
            ("GLIBC_TUNABLES", NO_AVX512),
            ("OPENSSL_ia32cap", "~0x0:~0x600d0230000"),
        ],
    },
    Processor {
        name: "no SHA instructions",
        environment: &[("OPENSSL_ia32cap", "~0x0:~0x20000000")],
    },
    Processor {
        name: "no AVX2, no SHA instructions",
        environment: &[
            ("GLIBC_TUNABLES", NO_AVX2),
            ("OPENSSL_ia32cap", "~0x0:~0x600f0230120"),
        ],
    },
    Processor {
        name: "no AVX, no SHA instructions",
        environment: &[
            ("GLIBC_TUNABLES", NO_AVX2),
            ("OPENSSL_ia32cap", "~0x1000000000000000:~0x600f0230120"),
        ],
    },
    Processor {
        name: "no vectors, no AES",
        environment: &[
            ("GLIBC_TUNABLES", NO_ERMS),
            ("OPENSSL_ia32cap", "~0x1240020200000000:~0x600f0230128"),
        ],
    },
];
