//! Pages whose texts have their lengths in deltas, looked at before the library decodes them: such a page says inside how
//! many lengths follow, and the library makes room for them.
//!
//! The encodings are those of the format's `Encodings.md`.

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescPtr, Type};

/// A reader that refuses pages with more lengths than values.
pub(super) struct Checked<R>(pub(super) R);

impl<R: FileReader> FileReader for Checked<R> {
    fn metadata(&self) -> &ParquetMetaData {
        self.0.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.0.num_row_groups()
    }

    fn get_row_group(&self, i: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(CheckedGroup(self.0.get_row_group(i)?)))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct CheckedGroup<'a>(Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let column = self.metadata().schema_descr().column(i);
        Ok(Box::new(CheckedPages { pages: self.0.get_column_page_reader(i)?, column }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct CheckedPages {
    pages: Box<dyn PageReader>,
    column: ColumnDescPtr,
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            check(page, &self.column)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

fn check(page: &Page, column: &ColumnDescPtr) -> Result<()> {
    let lists = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        // Lengths of prefixes, then those of what follows.
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return Ok(()),
    };
    let cut = || ParquetError::EOF("a page ends in its lengths".into());
    let mut bytes = page.buffer().get(levels(page, column).ok_or_else(cut)?..).ok_or_else(cut)?;
    for _ in 0..lists {
        let lengths = Lengths::read(&mut bytes).ok_or_else(cut)?;
        if lengths.count > u64::from(page.num_values()) {
            let reason = format!("a page has {} lengths of {} values", lengths.count, page.num_values());
            return Err(ParquetError::General(reason));
        }
        if lists > 1 {
            bytes = lengths.skip(bytes).ok_or_else(cut)?;
        }
    }
    Ok(())
}

/// Bytes of the levels in front of the values; `None` if they end in between.
fn levels(page: &Page, column: &ColumnDescPtr) -> Option<usize> {
    let (values, repetition, definition) = match page {
        Page::DictionaryPage { .. } => return Some(0),
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            return (*def_levels_byte_len as usize).checked_add(*rep_levels_byte_len as usize);
        }
        Page::DataPage { num_values, rep_level_encoding, def_level_encoding, .. } => {
            (*num_values, *rep_level_encoding, *def_level_encoding)
        }
    };
    let mut end = 0_usize;
    let kinds = [(column.max_rep_level(), repetition), (column.max_def_level(), definition)];
    for (most, encoding) in kinds.into_iter().filter(|(most, _)| *most > 0) {
        let length = if encoding == Encoding::RLE {
            let length = page.buffer().get(end..)?.first_chunk::<4>()?;
            4 + u32::from_le_bytes(*length) as usize
        } else {
            // The older way, without a length: as many bits as the largest level has.
            (values as usize * most.ilog2().saturating_add(1) as usize).div_ceil(8)
        };
        end = end.checked_add(length)?;
    }
    Some(end)
}

/// The header of a list in `DELTA_BINARY_PACKED`.
struct Lengths {
    block: u64,
    parts: u64,
    count: u64,
}

impl Lengths {
    fn read(bytes: &mut &[u8]) -> Option<Lengths> {
        let lengths = Lengths { block: varint(bytes)?, parts: varint(bytes)?, count: varint(bytes)? };
        let _first = varint(bytes)?;
        (lengths.parts > 0 && lengths.block >= lengths.parts).then_some(lengths)
    }

    /// What follows the blocks.
    fn skip(self, mut bytes: &[u8]) -> Option<&[u8]> {
        let of_part = self.block / self.parts;
        let mut left = self.count.saturating_sub(1);
        while left > 0 {
            let _least = varint(&mut bytes)?;
            let (widths, rest) = bytes.split_at_checked(usize::try_from(self.parts).ok()?)?;
            bytes = rest;
            for width in widths {
                // Parts without values have no bytes.
                let length = if left > 0 { u64::from(*width).checked_mul(of_part)? / 8 } else { 0 };
                bytes = bytes.get(usize::try_from(length).ok()?..)?;
                left = left.saturating_sub(of_part);
            }
        }
        Some(bytes)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::reader::SerializedFileReader;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    /// A thousand rows of texts that are required, optional, and repeated.
    fn file(encoding: Encoding, version: WriterVersion) -> Bytes {
        let schema =
            "message m { required binary a (UTF8); optional binary b (UTF8); repeated binary c (UTF8); }";
        let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
        let properties =
            Arc::new(properties.set_writer_version(version).set_data_page_row_count_limit(300).build());
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let text = |i: usize| ByteArray::from(format!("{}{i}", "olive".repeat(i % 7)).as_str());
        let texts: Vec<ByteArray> = (0..1000).map(text).collect();
        let third: Vec<ByteArray> = texts.iter().step_by(3).cloned().collect();
        let defined: Vec<i16> = (0..1000).map(|i| i16::from(i % 3 == 0)).collect();
        let repeated: Vec<i16> = (0..5000).map(|i| i16::from(i % 5 != 0)).collect();
        for (values, definition, repetition) in [
            (texts.clone(), None, None),
            (third, Some(defined), None),
            ([&texts[..]; 5].concat(), Some(vec![1; 5000]), Some(repeated)),
        ] {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, definition.as_deref(), repetition.as_deref()).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.into_inner().unwrap().into()
    }

    #[test]
    fn sound_pages_are_read_as_they_are() {
        for encoding in [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let reader = || SerializedFileReader::new(file(encoding, version)).unwrap();
                let column = reader().metadata().row_group(0).column(0).clone();
                assert!(column.encodings().any(|used| used == encoding), "{encoding}");
                let rows = |reader: &dyn FileReader| -> Vec<String> {
                    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect()
                };
                let checked = rows(&Checked(reader()));
                assert_eq!(checked, rows(&reader()));
                assert_eq!(checked.len(), 1000);
            }
        }
    }

    #[test]
    fn pages_with_more_lengths_than_values_are_refused() {
        let schema = parse_message_type("message m { optional binary a; }").unwrap();
        let column = parquet::schema::types::SchemaDescriptor::new(Arc::new(schema)).column(0);
        let page = |encoding: Encoding, content: &[u8]| {
            let levels = [2, 0, 0, 0, 6, 1];
            check(
                &Page::DataPage {
                    buf: [&levels, content].concat().into(),
                    num_values: 3,
                    encoding,
                    def_level_encoding: Encoding::RLE,
                    rep_level_encoding: Encoding::RLE,
                    statistics: None,
                },
                &column,
            )
            .map_err(|error| error.to_string())
        };
        // Blocks of 128 in four parts; three lengths, the first 1, then differences of 0 without a bit.
        let three = [0x80, 1, 4, 3, 2, 0, 0, 0, 0, 0];
        let many = [0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 2];
        let (lengths, both) = (Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY);
        assert_eq!(page(lengths, &three), Ok(()));
        assert_eq!(page(both, &[three, three].concat()), Ok(()));
        for refused in [page(lengths, &many), page(both, &many), page(both, &[three, many].concat())] {
            assert!(refused.unwrap_err().contains("a page has 2199023255551 lengths of 3 values"));
        }
        assert!(page(both, &three).unwrap_err().contains("a page ends in its lengths"));
        assert_eq!(page(Encoding::PLAIN, &many), Ok(()));
    }
}
