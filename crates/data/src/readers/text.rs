//! Plain text: every line is a row of the column `text`.

use super::table::Table;
use crate::error::Numbering;
use crate::value::Value;

/// Lines end at `\n`, `\r\n` or `\r`; an empty line is an empty row.
pub(super) fn read(text: &str) -> Table {
    let text = text.replace("\r\n", "\n");
    let mut rows: Vec<_> = (1..)
        .zip(text.split(['\n', '\r']))
        .map(|(number, line)| (number, vec![Value::Str(line.to_owned())]))
        .collect();
    if text.ends_with(['\n', '\r']) {
        // The last line end ends a line, it does not begin one.
        rows.pop();
    }
    Table { columns: vec!["text".into()], rows, numbering: Numbering::Lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Value> {
        read(text).rows.into_iter().map(|(_, mut row)| row.remove(0)).collect()
    }

    #[test]
    fn knows_every_line_end() {
        let expected = ["a", "b", "c", "d", "", "e\u{2028}f"].map(|s| Value::Str(s.into()));
        assert_eq!(lines("a\nb\r\nc\rd\n\ne\u{2028}f"), expected);
        assert_eq!(lines("a\n\n").len(), 2);
        assert_eq!(lines("a\r").len(), 1);
        assert_eq!(lines("a\r\n").len(), 1);
    }
}
