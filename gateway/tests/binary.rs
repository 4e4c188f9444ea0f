//! The binary is built with the tests: the harness in the `tests` crate runs it.

#[test]
fn the_binary_is_built_beside_the_tests() {
    assert!(std::path::Path::new(env!("CARGO_BIN_EXE_keyway")).is_file());
}
