//! `olive download`.

use super::session::Session;
use super::{Globals, environment, output};
use crate::report::number::bytes;
use clap::Args;
use olive_core::event::{Event, EventSink};
use olive_core::{Result, shown};
use olive_model::hub_folder::{Downloaded, OtherFiles, download};
use olive_model::{ModelFolder, SourceOptions};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct DownloadArgs {
    /// The model: `organisation/name`.
    #[arg(value_name = "MODEL")]
    model: String,
    /// Where to put it. Without it, a folder of the model's name in `model-cache`.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// A branch, a tag or a commit.
    #[arg(long, value_name = "REVISION", default_value = "main")]
    revision: String,
    /// Replace files of the same names that are not the model's.
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn run(args: &DownloadArgs, globals: &Globals) -> Result<()> {
    let session = Session::start(globals, 1)?;
    let folder = args.to.clone().unwrap_or_else(|| own_folder(&args.model));
    let others = if args.overwrite { OtherFiles::Replace } else { OtherFiles::Refuse };
    let options = SourceOptions { cancel: session.cancel().clone(), ..environment::source_options(globals) };
    let downloaded = download(&args.model, &args.revision, &folder, others, &options, session.events())?;
    warn_of_unknown(&folder, session.events());
    drop(session);
    output::result(&said(&folder, &downloaded))
}

/// Where a model of the hub goes if nobody says otherwise.
pub(super) fn own_folder(id: &str) -> PathBuf {
    Path::new("model-cache").join(id.rsplit('/').next().unwrap_or(id))
}

fn said(folder: &Path, downloaded: &Downloaded) -> String {
    let Downloaded { commit, files, bytes: size, written } = downloaded;
    let state = if *written == 0 { ", all of them there already" } else { "" };
    format!("{}: {files} files, {}, commit {commit}{state}", shown(folder), bytes(*size))
}

/// Whoever has fetched gigabytes wants to know what they are good for.
fn warn_of_unknown(folder: &Path, events: &dyn EventSink) {
    let known = ModelFolder::open(folder).and_then(|model| model.spec());
    if let Err(error) = known {
        let message = format!("this model can be kept here, but not used: {}", error.with_causes());
        events.emit(Event::Warning { message });
    }
}
