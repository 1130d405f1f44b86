//! What metrics are measured on.

use crate::evaluators::{DUMMY_DATA, DummyInput, DummyOptions, MetricData};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::node::Node;
use crate::origin::Era;
use crate::read::data::{Components, DataConfigs, Evaluated, RowUse};
use crate::read::resource::Consumer;
use crate::tables::DataloaderOptions;

/// The post-processing that is Olive's own: it takes the logits.
const POST_PROCESSING: [&str; 2] = ["text_generation_post_process", "post_process"];

/// Olive's dummy containers with their defaults.
const DUMMIES: [(&str, DummyInput); 3] = [
    ("TransformersTokenDummyDataContainer", DummyInput { seq_len: 1, past_seq_len: 8, max_seq_len: 2048 }),
    ("TransformersPromptDummyDataContainer", DummyInput { seq_len: 8, past_seq_len: 0, max_seq_len: 2048 }),
    ("TransformersDummyDataContainer", DummyInput { seq_len: 128, past_seq_len: 128, max_seq_len: 1024 }),
];

impl Components<'_> {
    /// The rows or the dummy input of a data config, and how many of them make a batch.
    pub(in crate::read) fn evaluated(
        &self,
        all: &DataConfigs<'_>,
        rows: RowUse,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<Evaluated> {
        let container = self.top.node("type").and_then(Node::as_text).unwrap_or_default();
        if let Some((_, defaults)) = DUMMIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(container)) {
            return self.dummy(*defaults, findings);
        }
        if let Some(found) = self.post.found("type") {
            let name = found.node.as_text().unwrap_or_default();
            if !POST_PROCESSING.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let message = format!("`{name}` is a Python function, which is not run");
                let hint = "leave the type out: the logits are taken as they are";
                findings.refuse(found.at, &found.path, message, Some(hint.into()));
            }
        }
        let loader = self.loader.resolve(Era::New, findings);
        if loader.get("drop_last").json == true {
            loader.warn("drop_last", "`drop_last` is not used: all rows are measured", findings);
        }
        let (config, _) = self.resolve(all, rows, consumer, findings)?;
        Some((MetricData::Rows(Box::new(config)), DataloaderOptions::read(&loader)?.batch_size))
    }

    fn dummy(&self, defaults: DummyInput, findings: &mut Findings) -> Option<Evaluated> {
        let fields = match self.top.found("load_dataset_config") {
            Some(found) => Fields::open(found.node, &found.path, &DUMMY_DATA, findings),
            None => Fields::empty(&self.load.path, self.load.at, &DUMMY_DATA),
        };
        let options = DummyOptions::read(&fields.resolve(Era::New, findings))?;
        let input = DummyInput {
            seq_len: options.seq_len.unwrap_or(defaults.seq_len),
            past_seq_len: options.past_seq_len.unwrap_or(defaults.past_seq_len),
            max_seq_len: options.max_seq_len.unwrap_or(defaults.max_seq_len),
        };
        if input.seq_len + input.past_seq_len > input.max_seq_len {
            let message = format!(
                "{} tokens and {} before them are more than `max_seq_len`, {}",
                input.seq_len, input.past_seq_len, input.max_seq_len
            );
            findings.error(fields.at, &fields.path, message, None);
        }
        Some((MetricData::Dummy(input), options.batch_size))
    }
}
