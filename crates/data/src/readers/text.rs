//! Plain text: every line, paragraph or file is a row of the column `text`.

use super::source::Source;
use super::table::Table;
use crate::error::Numbering;
use crate::room::Room;
use crate::value::Value;
use olive_config::canonical::SampleBy;
use olive_core::Result;

/// Lines end at `\n`, `\r\n` or `\r`; an empty line is an empty row. Paragraphs have an empty line between them and are
/// not empty; what is left over of several lies in the next one.
pub(super) fn read(source: &Source, sample_by: SampleBy, room: &Room) -> Result<Table> {
    let text = source.text(room)?;
    let rows = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let takes = |_| room.no_room_for_file(&source.path);
    room.take(text.len()).and_then(|()| room.take_rows(rows, 1)).map_err(takes)?;
    Ok(table(&text, sample_by))
}

fn table(text: &str, sample_by: SampleBy) -> Table {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (texts, numbering): (Vec<&str>, _) = match sample_by {
        // The last line end ends a line, it does not begin one.
        SampleBy::Line => (text.strip_suffix('\n').unwrap_or(&text).split('\n').collect(), Numbering::Lines),
        SampleBy::Paragraph => {
            (text.split("\n\n").filter(|text| !text.is_empty()).collect(), Numbering::Rows)
        }
        SampleBy::Document => (vec![&text], Numbering::Rows),
    };
    let rows = (1..).zip(texts).map(|(number, text)| (number, vec![Value::Str(text.to_owned())])).collect();
    Table { columns: vec!["text".into()], rows, numbering }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Value> {
        table(text, SampleBy::Line).rows.into_iter().map(|(_, mut row)| row.remove(0)).collect()
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
