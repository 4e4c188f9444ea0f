//! Tests that span modules.

mod corpus;
mod streaks;
