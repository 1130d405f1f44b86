//! Measures one model on samples, whatever form the model has: float weights, an adapter on them, a base in 4 bits under an
//! adapter, or an ONNX graph of any precision.
//!
//! A [`Subject`] is an opened model. [`losses()`] gives the negative log-likelihood of the labels of a dataset,
//! [`multiple_choice()`] the share of questions whose answer the model finds most likely, [`exact_match()`] the share that
//! it answers word by word, [`answers()`] what it says for people to read, [`latency()`] and [`speed()`] how long it takes, [`size_on_disk()`] and [`PeakMemory`] how much
//! room. What they give goes into [`Metrics`], which are written as Olive writes them.

mod answers;
mod detail;
mod error;
mod exact_match;
mod latency;
mod losses;
mod memory;
mod metrics;
mod multiple_choice;
mod size;
mod speed;
mod subject;
mod work;

pub use answers::{Answer, answers};
pub use detail::{Machine, MetricDetail, MetricsDetail, Versions};
pub use error::{EvaluateError, Item};
pub use exact_match::{Exercise, LetterCase, Matches, exact_match};
pub use latency::{DummyTokens, Latencies, Repetition, dummy_latency, latency};
pub use losses::{TokenLosses, losses};
pub use memory::{MemorySource, PeakMemory};
pub use metrics::{MetricValue, Metrics, Number};
pub use multiple_choice::{Choices, Question, multiple_choice};
pub use size::size_on_disk;
pub use speed::{Speed, speed};
pub use subject::{Opening, Subject};
pub use work::Work;
