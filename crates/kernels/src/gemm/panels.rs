//! A matrix packed once for several products.

use super::band::Banded;
use super::matrix::{Assign, MatMut, MatRef};
use super::portable;
use super::threads::Threads;
#[cfg(target_arch = "x86_64")]
use super::{kernel, packed_right::PackedRight};

/// The right operand of several products on one thread, packed where that pays.
pub(crate) struct Panels<'a> {
    b: MatRef<'a>,
    #[cfg(target_arch = "x86_64")]
    packed: Option<PackedRight>,
}

impl<'a> Panels<'a> {
    /// Columns that a product may begin with are multiples of this.
    pub(crate) const STEP: usize = 32;

    pub(crate) fn empty() -> Panels<'a> {
        Panels {
            b: MatRef::new(&[], 0, 0, 0),
            #[cfg(target_arch = "x86_64")]
            packed: kernel::best().map(PackedRight::empty),
        }
    }

    /// Holds `b` from now on, in the memory of what it held before.
    pub(crate) fn pack(&mut self, b: MatRef<'a>) -> &Panels<'a> {
        self.b = b;
        #[cfg(target_arch = "x86_64")]
        if let Some(packed) = &mut self.packed {
            packed.pack(&b.into());
        }
        self
    }

    /// `c = [c +] alpha · a · b` on the current thread, where B is the part of the packed matrix that begins at
    /// (`row`, `col`) and is as large as A and C tell.
    pub(crate) fn product(
        &self,
        c: &mut MatMut,
        assign: Assign,
        alpha: f32,
        a: MatRef,
        [row, col]: [usize; 2],
        banded: Banded,
    ) {
        assert!(col.is_multiple_of(Self::STEP), "products begin with a whole panel");
        #[cfg(target_arch = "x86_64")]
        if let Some(packed) = &self.packed {
            return packed.product(c, assign, alpha, a, [row, col], banded);
        }
        // What the band would leave out is computed, which changes nothing that is wanted.
        let _ = banded;
        let b = self.b.columns(col, c.cols).t().columns(row, a.cols).t();
        portable::product(c, assign, alpha, a, b.into(), Threads::Current);
    }
}
