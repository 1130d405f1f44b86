//! `olive login`, `olive logout`: the hub's token, where all its tools look for it.

use super::{Globals, environment, output, questions};
use clap::Args;
use dialoguer::Password;
use olive_core::error::IoContext;
use olive_core::{Fault, Result, file, secrets, shown};
use olive_model::hub_account::account;
use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Args)]
pub(crate) struct LoginArgs {}

#[derive(Args)]
pub(crate) struct LogoutArgs {}

/// Who may not see the token: everybody else.
const OWNER_ONLY: u32 = 0o600;

pub(crate) fn login(_args: &LoginArgs, globals: &Globals) -> Result<()> {
    let options = environment::source_options(globals);
    if options.offline {
        return Err(LoginError::Offline.into());
    }
    let token = token()?;
    let owner = account(&token, options.endpoint.as_deref())?;
    let file = environment::token_file();
    store(&file, &token)?;
    if environment::has_token_variable() {
        output::note("HF_TOKEN is set, and comes before the token that was stored now");
    }
    output::result(&format!("logged in as {}; the token is in {}", owner.name, shown(&file)))
}

pub(crate) fn logout(_args: &LogoutArgs, _globals: &Globals) -> Result<()> {
    let file = environment::token_file();
    match std::fs::remove_file(&file) {
        Ok(()) => output::result(&format!("{} is removed", shown(&file)))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => output::result("there is no token")?,
        Err(error) => return Err(error).at("remove", &file),
    }
    if environment::has_token_variable() {
        output::note("HF_TOKEN is set, and is still used");
    }
    Ok(())
}

/// What a person types unseen, or the first line of a pipe.
fn token() -> Result<String> {
    let stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        output::note(
            "A token with read access, or write access for `push`, is made on the page settings/tokens of the hub.",
        );
        let typed = Password::new().with_prompt("token").allow_empty_password(true);
        questions::answered(typed.interact())?
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).at("read", Path::new("stdin"))?;
        line
    };
    let token = text.trim().to_owned();
    secrets::keep(&token);
    match token.as_str() {
        "" => Err(LoginError::NoToken.into()),
        token if !token.chars().all(|c| c.is_ascii_graphic()) => Err(LoginError::NotAToken.into()),
        _ => Ok(token),
    }
}

fn store(path: &Path, token: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).at("create", folder)?;
    let on_its_way = file::partial_path(path);
    let _ = std::fs::remove_file(&on_its_way); // Of a login that was killed.
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&on_its_way)?;
        file.write_all(token.as_bytes())?;
        std::fs::rename(&on_its_way, path)
    };
    written().at("write", path)
}

#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("there is no token")]
    NoToken,
    #[error("this is no token: it has spaces or characters that no token has")]
    NotAToken,
    #[error("a token is checked with the hub, and this run is offline")]
    Offline,
}

impl Fault for LoginError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            LoginError::NoToken | LoginError::NotAToken => {
                "type it, or give it to stdin: `olive login < token-file`".into()
            }
            LoginError::Offline => "run without --offline and HF_HUB_OFFLINE, or set HF_TOKEN".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
