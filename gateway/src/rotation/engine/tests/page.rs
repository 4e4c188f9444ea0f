//! The page `docs/rotation.md` shows the state machine that the code has.
//!
//! After a change: `cargo test -p keyway --lib write_the_state_machine -- --ignored`.

use strum::VariantArray as _;

use super::*;

const BEGIN: &str = "<!-- states: begin -->\n```mermaid\n";
const END: &str = "```\n<!-- states: end -->\n";

fn page() -> (std::path::PathBuf, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rotation.md");
    let page = std::fs::read_to_string(&path).unwrap();
    (path, page)
}

#[test]
fn page_shows_the_state_machine_of_the_code() {
    let (_path, page) = page();
    let (_before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, _after) = rest.split_once(END).unwrap();
    assert_eq!(shown, state_diagram());
}

#[test]
#[ignore = "writes the page"]
fn write_the_state_machine() {
    let (path, page) = page();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_shown, after) = rest.split_once(END).unwrap();
    std::fs::write(
        path,
        format!("{before}{BEGIN}{}{END}{after}", state_diagram()),
    )
    .unwrap();
}

#[test]
fn every_legal_transition_is_drawn_and_no_other() {
    for from in State::VARIANTS {
        for to in State::VARIANTS {
            let legal = from != to && from.may_become(*to);
            assert_eq!(
                transition_label(*from, *to).is_some(),
                legal,
                "{from} to {to}"
            );
        }
    }
}
