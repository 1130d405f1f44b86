//! A workspace and what is in it.

mod name;

pub use name::Workspace;
