//! Tests that span modules.

mod corpus;
mod line_runs;
