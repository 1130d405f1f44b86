//! `olive man-pages`: a page of the manual for the program and for every verb, for those who pack it. It is in programs that
//! are built for that (feature `man-pages`).

use clap::{Args, Command};
use clap_mangen::Man;
use olive_core::Result;
use olive_core::error::IoContext;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct ManPagesArgs {
    /// The folder that the pages are written to.
    dir: PathBuf,
}

pub(crate) fn run(args: &ManPagesArgs, command: Command) -> Result<()> {
    std::fs::create_dir_all(&args.dir).at("create", &args.dir)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write(&command, &args.dir).at("write pages of the manual into", &args.dir)
}

fn write(command: &Command, dir: &Path) -> std::io::Result<()> {
    let page = Man::new(command.clone()).source(concat!("olive ", env!("CARGO_PKG_VERSION"))).manual("olive");
    page.generate_to(dir)?;
    let mut verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    verbs.try_for_each(|verb| write(verb, dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;
    use std::collections::BTreeSet;
    use std::process::Command as Process;

    /// The verbs that help shows, with those before them: `cache-ls`.
    fn verbs(command: &Command, before: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = format!("{before}{}", verb.get_name());
            verbs(verb, &format!("{name}-"), found);
            found.insert(name);
        }
    }

    /// What the formatter of pages says against one.
    fn complaints(page: &Path) -> Option<String> {
        let output =
            Process::new("groff").args(["-Kutf8", "-man", "-ww", "-z", "-Tutf8"]).arg(page).output().ok()?;
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn every_verb_that_help_shows_has_a_page_with_its_options() {
        let dir = tempfile::tempdir().unwrap();
        run(&ManPagesArgs { dir: dir.path().join("man") }, parse::command()).unwrap();
        let mut expected = BTreeSet::from(["olive.1".to_owned()]);
        let mut names = BTreeSet::new();
        verbs(&parse::command(), "", &mut names);
        expected.extend(names.iter().map(|name| format!("olive-{name}.1")));
        let dir = dir.path().join("man");
        let pages = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(pages.map(|name| name.into_string().unwrap()).collect::<BTreeSet<_>>(), expected);
        let run_page = std::fs::read_to_string(dir.join("olive-run.1")).unwrap();
        assert!(run_page.contains(r"\-\-dry\-run") && run_page.contains(r"\-\-offline"), "{run_page}");
        for name in expected {
            if let Some(complaints) = complaints(&dir.join(&name)) {
                assert_eq!(complaints, "", "{name}");
            }
        }
    }
}
