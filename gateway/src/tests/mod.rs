//! Tests that span modules.

mod corpus;
