//! Less of a processor than there is: what a program in a masked environment takes it for.
//!
//! glibc chooses how it copies and fills by `GLIBC_TUNABLES`, and AWS-LC how it encrypts and hashes by `OPENSSL_ia32cap`: two numbers
//! of bits to leave out, of leaf 1 (EDX, ECX) and of leaf 7 (EBX, ECX) of CPUID. What Rust chooses by itself cannot be masked.

/// A processor's name, and the environment in which a program sees no more.
pub struct Processor {
    /// For whoever reads a failure.
    pub name: &'static str,
    /// The variables.
    pub environment: &'static [(&'static str, &'static str)],
}

const NO_AVX512: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512F_Usable";
const NO_AVX2: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load";
const NO_ERMS: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3";

/// From all there is to what every one has.
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
