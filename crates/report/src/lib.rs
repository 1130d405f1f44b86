//! What runs did and reached, read from their records and written as one HTML page: no script, no network, light and dark,
//! printable; and as a model card for those who publish the result.
//!
//! [`run_page()`] shows one run, [`compare_page()`] several side by side. All text of models, data and file names passes
//! maud, which escapes it; charts are SVG in the page.

mod answers;
mod card;
mod chart;
mod comparison;
mod curves;
mod format;
mod page;
mod run;
mod search;
mod stages;
mod visible;
mod words;

pub use card::{CARD, card, is_card};
pub use comparison::{Comparison, compare_page};
pub use format::{number as value_text, real as real_text};
pub use page::run_page;
pub use run::Run;
pub use words::{goal_text, model_name, not_evaluated_text};

/// Whether a file is a page that this program wrote, and may therefore be written again.
pub fn is_page(path: &std::path::Path) -> bool {
    olive_core::file::read(path).is_ok_and(|text| {
        let begin = &text[..text.len().min(1024)];
        String::from_utf8_lossy(begin).contains(page::GENERATOR)
    })
}

/// The file of an output folder.
pub const FILE: &str = "report.html";
