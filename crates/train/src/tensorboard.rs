//! TensorBoard's event files: scalars as `Event` messages in TFRecords.
//!
//! A record is the length of its data as u64, the masked CRC-32C of these eight bytes, the data, and the masked CRC-32C of
//! the data; all little-endian. The messages are those of TensorFlow's `event.proto` and `summary.proto`, as far as
//! scalars need them.

use crc::{CRC_32_ISCSI, Crc};
use olive_core::{Result, error::IoContext};
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// CRC-32C (Castagnoli), by the name that RFC 3720 gave it.
const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// `tensorflow.Event`.
#[derive(Clone, PartialEq, Message)]
pub struct EventMessage {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// `brain.Event:2`, in the first record only.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<SummaryValue>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct SummaryValue {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
}

/// An open event file. Every record is in the file once it is written, so that TensorBoard can follow a run.
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins `events.out.tfevents.<seconds since 1970>.olive` in `dir`, which is made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(dir: &Path) -> Result<EventFile> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let path = dir.join(format!("events.out.tfevents.{}.olive", now() as u64));
        let file = File::create(&path).at("create", &path)?;
        let mut events = EventFile { file, path };
        let file_version = Some("brain.Event:2".to_owned());
        events.write(&EventMessage { wall_time: now(), file_version, ..EventMessage::default() })?;
        Ok(events)
    }

    /// Scalars of one step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn scalars(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<()> {
        let value = scalars
            .iter()
            .map(|(tag, value)| SummaryValue { tag: (*tag).into(), simple_value: Some(*value as f32) })
            .collect();
        self.write(&EventMessage {
            wall_time: now(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            file_version: None,
            summary: Some(Summary { value }),
        })
    }

    fn write(&mut self, event: &EventMessage) -> Result<()> {
        self.file.write_all(&record(&event.encode_to_vec())).at("write", &self.path)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc(data).to_le_bytes());
    record
}

/// The masking keeps a CRC of data that holds CRCs from being weak.
fn masked_crc(data: &[u8]) -> u32 {
    CRC_32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnoli() {
        // RFC 3720, B.4.
        let crc32c = |data: &[u8]| CRC_32C.checksum(data);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
