//! An HTTP server that answers as OpenAI's does, with one model or several.
//!
//! Two threads work: one does all input and output (`connections`, `routes`, `gate`), the other owns the models and
//! gives every sequence a token in its turn (`scheduler`). Requests go from one to the other through a bounded queue, and pieces of
//! text come back through a bounded channel, whose closing ends the work.

mod answer_text;
mod answers;
mod api_error;
mod body;
mod chat_request;
mod completion_request;
mod connections;
mod error;
mod fields;
mod formats;
mod gate;
mod generation;
mod grammar;
mod job;
mod log;
mod logit_changes;
mod logprobs;
mod messages;
mod metrics;
mod options;
mod page;
mod places;
mod prepare;
mod queue;
mod room;
mod routes;
mod scheduler;
mod server;
mod shutdown;
mod slot;
mod state;
mod stop_strings;
mod stream;
mod timed_stream;
mod token_bytes;
mod turns;
mod under_way;

pub use error::ServeError;
pub use options::{Access, Limits, ModelNames, ServeOptions, Times};
pub use server::serve;
pub use shutdown::Shutdown;
