//! Memory for packed panels, in huge pages where the system has them.
//!
//! In pages of 4 KB, which lie anywhere in physical memory, panels of half an L2 cache push parts of each other out of it:
//! the speed of one and the same product then varies by a third from process to process.

use memmap2::MmapMut;
use std::alloc::{Layout, handle_alloc_error};

/// Size and alignment of a huge page on x86-64.
const PAGE: usize = 1 << 21;

/// A buffer that grows; its content is lost when it does.
#[derive(Default)]
pub(super) struct Scratch(Option<MmapMut>);

impl Scratch {
    pub(super) const EMPTY: Scratch = Scratch(None);

    /// At least `len` floats, starting on a huge page.
    pub(super) fn floats(&mut self, len: usize) -> &mut [f32] {
        #[expect(unsafe_code, reason = "bytes as floats")]
        // SAFETY: every pattern of bits is a float, and `align_to_mut` gives aligned floats within the bytes, which are
        // borrowed mutably.
        let (_, floats, _) = unsafe { self.bytes(4 * len).align_to_mut() };
        floats
    }

    /// At least `len` bytes, starting on a huge page.
    pub(super) fn bytes(&mut self, len: usize) -> &mut [u8] {
        let bytes = len.next_multiple_of(PAGE);
        if self.0.as_ref().is_none_or(|map| map.len() < bytes + PAGE) {
            self.0 = None;
            // What lies before the first huge page is never touched and takes no memory.
            let map = MmapMut::map_anon(bytes + PAGE);
            let map = map.unwrap_or_else(|_| {
                handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>()))
            });
            #[cfg(target_os = "linux")]
            // Where it is refused the panels lie in small pages.
            let _ = map.advise(memmap2::Advice::HugePage);
            self.0 = Some(map);
        }
        let map: &mut [u8] = self.0.as_deref_mut().unwrap_or_default();
        let skipped = map.as_ptr().align_offset(PAGE).min(map.len());
        &mut map[skipped..]
    }
}
