//! Panics of libraries that read what others wrote, kept within the call that caused them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is caught, and told by whoever catches it.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, and says nothing on stderr should it panic.
///
/// # Errors
/// What the panic said.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                usual(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    // What a panic leaves half done belongs to `work`, which nobody sees again.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    outcome.map_err(|payload| said(&*payload))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(contain(|| -> u8 { panic!("plain") }), Err("plain".into()));
        let index = 7;
        assert_eq!(contain(|| -> u8 { panic!("index {index}") }), Err("index 7".into()));
        assert!(!CONTAINED.get());
    }
}
