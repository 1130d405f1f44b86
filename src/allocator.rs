//! The memory allocator: huge pages that are kept.
//!
//! A step of training allocates and frees gigabytes of activations. A system allocator gives them back and takes new pages
//! of 4 KB, hundreds of thousands per step, each zeroed by the kernel; products then read and write memory that the
//! processor's address translation does not cover. mimalloc keeps what was freed and lays it in huge pages.

use libmimalloc_sys::{mi_option_large_os_pages, mi_option_set, mi_option_t};
use mimalloc::MiMalloc;
use std::ffi::c_long;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// mimalloc's option `purge_delay`, which the bindings leave out, as they do the next one.
const PURGE_DELAY: mi_option_t = 15;
const ARENA_RESERVE: mi_option_t = 23;

const OPTIONS: [(mi_option_t, c_long); 3] = [
    (mi_option_large_os_pages, 1),
    // After how many milliseconds the system gets back what nobody used. Many steps take longer than mimalloc's second.
    (PURGE_DELAY, 120_000),
    // The first arenas, in KiB. In mimalloc's arena of 1 GiB values lie further apart: a training needs 0.1 GB more.
    (ARENA_RESERVE, 32 * 1024),
];

extern "C" fn set_options() {
    for (option, value) in OPTIONS {
        #[expect(unsafe_code, reason = "mimalloc's options are set by a C function")]
        // SAFETY: it asks nothing of its arguments, and no other thread runs before `main`.
        unsafe {
            mi_option_set(option, value);
        }
    }
}

/// Before `main`, so that the first large allocation finds the options that it is laid out by.
#[used]
#[expect(unsafe_code, reason = "the section's name is the interface")]
// SAFETY: the loader calls the functions in this section before `main`, with arguments that `set_options` may ignore.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = set_options;
