//! The memory allocator: huge pages that are kept.
//!
//! A step of training allocates and frees gigabytes of activations. A system allocator gives them back and takes new pages
//! of 4 KB, hundreds of thousands per step, each zeroed by the kernel; products then read and write memory that the
//! processor's address translation does not cover. jemalloc keeps what was freed and lays it in huge pages.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads at its start, <https://jemalloc.net/jemalloc.3.html#tuning>: `_RJEM_MALLOC_CONF` in the
/// environment overrides it. By default large values, which activations are, go back to the system as soon as they are
/// freed; here only what nobody used for two minutes does. A few arenas, because what is freed stays with the arena it
/// came from.
#[expect(unsafe_code, reason = "jemalloc looks its options up by the name of this symbol")]
// SAFETY: nothing else has this name, and it is what jemalloc expects there: a pointer to a C string.
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: &[u8; 64] = b"thp:always,oversize_threshold:0,dirty_decay_ms:120000,narenas:4\0";
