//! The name that this program was started by. The wheel of PyPI installs it as `olive-rs`, since Microsoft's package has the
//! command `olive`; texts that tell people to type a command must name the one that they have.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

/// The name in the sources.
pub(crate) const USUAL: &str = "olive";

static CALLED: LazyLock<String> = LazyLock::new(|| {
    std::env::args_os().next().and_then(|path| name_in(Path::new(&path))).unwrap_or(USUAL.into())
});

/// The file name of the program as it was started.
pub(crate) fn called() -> &'static str {
    &CALLED
}

fn name_in(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(std::env::consts::EXE_SUFFIX).unwrap_or(name).to_owned())
}

/// The text with commands in backticks, `` `olive run …` ``, as they must be typed.
pub(crate) fn as_called(text: &str) -> Cow<'_, str> {
    renamed(text, called())
}

fn renamed<'t>(text: &'t str, name: &str) -> Cow<'t, str> {
    let command = format!("`{USUAL} ");
    match name != USUAL && text.contains(&command) {
        true => text.replace(&command, &format!("`{name} ")).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_named_as_the_program_was_called() {
        let text = "`olive cache ls` lists what `olive` keeps in olive folders";
        assert_eq!(
            renamed(text, "olive-rs"),
            "`olive-rs cache ls` lists what `olive` keeps in olive folders"
        );
        assert_eq!(renamed(text, USUAL), text);
        assert_eq!(name_in(Path::new("/usr/bin/olive-rs")).as_deref(), Some("olive-rs"));
    }
}
