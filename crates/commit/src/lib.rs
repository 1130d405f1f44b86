//! The commit that a program is made from, for its `--version`.
//!
//! A macro, not a build script: a script that looks at git has to run whenever the commit or a file changes, and then cargo
//! compiles every target of its package again, tests included. A macro is expanded when the program is compiled, which is
//! when something that it is made from has changed.

mod checkout;

use proc_macro::{Literal, TokenStream, TokenTree};
use std::path::PathBuf;

/// A text: 12 digits of the commit, and `+dirty` if files differ from it; or `unknown`, where there is neither git nor an
/// archive of git's.
#[proc_macro]
pub fn commit(_: TokenStream) -> TokenStream {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let commit = package.and_then(|package| checkout::commit(&package));
    TokenTree::from(Literal::string(commit.as_deref().unwrap_or("unknown"))).into()
}
