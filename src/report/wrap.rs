//! Text that fits the terminal it is shown on. In pipes and files every message stays one line.

use std::os::fd::AsFd;
use terminal_size::{Width, terminal_size_of};

/// Columns of the terminal that this leads to, if it is one.
pub(crate) fn columns(stream: impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(Width(columns), _)| usize::from(columns))
}

/// A message as stderr shows it: on a terminal, what does not fit a line goes on below, indented.
pub(crate) fn for_stderr(message: &str) -> String {
    const INDENT: usize = 4;
    match columns(std::io::stderr()) {
        Some(width) => {
            let lines = message.lines().map(|line| wrapped(line, width, INDENT));
            lines.collect::<Vec<_>>().join("\n")
        }
        None => message.to_owned(),
    }
}

/// The line in pieces of at most `width` columns, broken at spaces; all but the first are indented. Words stay whole, as
/// paths are there to be copied.
pub(crate) fn wrapped(line: &str, width: usize, indent: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let start = line.len() - line.trim_start().len();
    let (mut text, mut column) = (line[..start].to_owned(), start);
    let mut at_start = true;
    for word in line[start..].split(' ') {
        let length = word.chars().count();
        if !at_start && column + 1 + length > width {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if !at_start {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        at_start = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_at_spaces_and_go_on_indented() {
        let text = "warning: the key `rank` is not used";
        assert_eq!(wrapped(text, 40, 4), text);
        assert_eq!(wrapped(text, 20, 4), "warning: the key\n    `rank` is not\n    used");
        assert_eq!(wrapped("  a  b c", 5, 2), "  a \n  b c", "spaces are the text's own");
        assert_eq!(wrapped("x /a/long/path y", 6, 1), "x\n /a/long/path\n y", "a word stays whole");
    }
}
